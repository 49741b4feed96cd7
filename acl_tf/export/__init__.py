"""Import and export of other formats: PyTorch checkpoints, SavedModels."""
