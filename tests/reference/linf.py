"""The l∞ ball, one pixel at a time."""

from collections.abc import Callable

import numpy as np


def project(images: np.ndarray, center: np.ndarray, epsilon: float) -> np.ndarray:
    """Returns the nearest point in [0, 1] that is at most epsilon away from the centre in every pixel."""
    result = np.empty_like(images)
    for index in np.ndindex(images.shape):
        lower, upper = max(0.0, center[index] - epsilon), min(1.0, center[index] + epsilon)
        result[index] = min(max(images[index], lower), upper)
    return result


def momentum_attack(
    images: np.ndarray,
    gradient: Callable[[np.ndarray], np.ndarray],
    epsilon: float,
    step_size: float,
    steps: int,
    momentum: float,
) -> np.ndarray:
    """Dong et al. (CVPR 2018), Algorithm 1, one image at a time, from the images themselves."""
    result = []
    for image in images:
        point, g = image, np.zeros_like(image)
        for _ in range(steps):
            current = gradient(point)
            g = momentum * g + current / np.abs(current).sum()
            point = project(point + step_size * np.sign(g), image, epsilon)
        result.append(point)
    return np.array(result)
