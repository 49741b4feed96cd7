"""The Hugging Face Hub: model cards, push, pull and the manifest that a download is checked against."""
