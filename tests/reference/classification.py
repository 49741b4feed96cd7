"""Losses of a classification, one example at a time."""

import numpy as np


def margin(z: np.ndarray, y: int) -> float:
    """Carlini and Wagner (IEEE S&P 2017), f6 without the cut at 0."""
    return max(z[i] for i in range(len(z)) if i != y) - z[y]


def dlr(z: np.ndarray, y: int) -> float:
    """Croce and Hein (ICML 2020), Eq. 6."""
    order = sorted(range(len(z)), key=lambda i: -z[i])
    return -(z[y] - max(z[i] for i in range(len(z)) if i != y)) / (z[order[0]] - z[order[2]])


def cross_entropy(z: np.ndarray, y: int) -> float:
    return -np.log(np.exp(z[y] - max(z)) / sum(np.exp(z - max(z))))
