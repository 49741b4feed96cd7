"""Other formats in and out: PyTorch checkpoints, SavedModel."""
