"""Loss functions: pure functions of tensors that return one value per example."""
