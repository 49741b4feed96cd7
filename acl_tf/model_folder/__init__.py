"""The model folder: what a run leaves behind, and what a Hub repository holds."""
