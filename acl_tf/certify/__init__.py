"""Certified accuracy by randomised smoothing."""
