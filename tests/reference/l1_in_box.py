"""The l1 ball in [0, 1], by bisection instead of sorting."""

import numpy as np


def project(center: np.ndarray, delta: np.ndarray, epsilon: float) -> np.ndarray:
    """Nearest perturbation of one image: all sizes are lowered by the same amount, and cut where [0, 1] ends."""
    sizes = np.abs(delta.astype(np.float64))
    room = np.where(delta > 0, 1 - center.astype(np.float64), center.astype(np.float64))
    low, high = 0.0, sizes.max()
    if np.minimum(sizes, room).sum() <= epsilon:
        high = 0.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(sizes - middle, 0, room).sum() > epsilon else (low, middle)
    return np.sign(delta) * np.clip(sizes - high, 0, room)
