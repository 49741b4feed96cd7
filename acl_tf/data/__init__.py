"""Images in: sources, splits and augmentation."""
