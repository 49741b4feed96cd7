"""Supervised training on top of an encoder."""
