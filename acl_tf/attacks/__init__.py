"""Attacks: one gradient loop with hooks, and one file an attack."""
