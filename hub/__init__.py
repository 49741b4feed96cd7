"""The Hugging Face Hub: names, push and pull of models."""
