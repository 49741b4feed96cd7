"""The l1 ball, by bisection instead of sorting."""

import numpy as np


def project(delta: np.ndarray, epsilon: float) -> np.ndarray:
    """Returns the nearest point of the ball: all sizes are lowered by the same amount, at most to 0."""
    sizes = np.abs(delta.astype(np.float64))
    if sizes.sum() <= epsilon:
        return delta
    low, high = 0.0, sizes.max()
    for _ in range(200):
        middle = (low + high) / 2
        if np.maximum(sizes - middle, 0).sum() > epsilon:
            low = middle
        else:
            high = middle
    return np.sign(delta) * np.maximum(sizes - high, 0)
