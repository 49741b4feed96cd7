"""Padding, crop and mirror image of one image at a time."""

import numpy as np


def windows(image: np.ndarray, padding: int, flip: bool) -> dict[tuple[int, int, bool], np.ndarray]:
    """Returns every possible result, by top, left, and whether it is mirrored."""
    height, width, channels = image.shape
    padded = np.zeros((height + 2 * padding, width + 2 * padding, channels), image.dtype)
    padded[padding : padding + height, padding : padding + width] = image
    found = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            window = padded[top : top + height, left : left + width]
            found[top, left, False] = window
            if flip:
                found[top, left, True] = window[:, ::-1]
    return found
