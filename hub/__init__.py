"""The Hugging Face Hub: model card, push, pull, and the manifest that a download is checked against."""
