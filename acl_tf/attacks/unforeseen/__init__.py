"""Unforeseen attacks: distortions that no model was trained against."""
