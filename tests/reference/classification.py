"""Losses of a classification, one example at a time."""

import numpy as np
import scipy.special
import scipy.stats


def margin(z: np.ndarray, y: int) -> float:
    """Carlini and Wagner (IEEE S&P 2017), f6 without the cut at 0."""
    return max(z[i] for i in range(len(z)) if i != y) - z[y]


def dlr(z: np.ndarray, y: int) -> float:
    """Croce and Hein (ICML 2020), Eq. 6."""
    order = sorted(range(len(z)), key=lambda i: -z[i])
    return -(z[y] - max(z[i] for i in range(len(z)) if i != y)) / (z[order[0]] - z[order[2]])


def cross_entropy(z: np.ndarray, y: int) -> float:
    return -np.log(np.exp(z[y] - max(z)) / sum(np.exp(z - max(z))))


def log_softmax(z: np.ndarray) -> np.ndarray:
    return scipy.special.log_softmax(z, axis=-1)


def kl_divergence(z: np.ndarray, other: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns the divergence of the distribution of each row of `z` from that of `other`."""
    return scipy.stats.entropy(
        scipy.special.softmax(z / temperature, axis=-1), scipy.special.softmax(other / temperature, axis=-1), axis=-1
    )


def distillation(z: np.ndarray, teacher: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Hinton et al. (2015), section 2: the soft targets' part, times T²."""
    soft_targets = scipy.special.softmax(teacher / temperature, axis=-1)
    return -(temperature**2) * np.sum(soft_targets * log_softmax(z / temperature), axis=-1)
