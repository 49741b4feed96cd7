"""The l∞ ball, one pixel at a time."""

import numpy as np


def project(images: np.ndarray, center: np.ndarray, epsilon: float) -> np.ndarray:
    """Nearest point that is at most epsilon away from the centre in every pixel, and in [0, 1]."""
    result = np.empty_like(images)
    for index in np.ndindex(images.shape):
        lower, upper = max(0.0, center[index] - epsilon), min(1.0, center[index] + epsilon)
        result[index] = min(max(images[index], lower), upper)
    return result
