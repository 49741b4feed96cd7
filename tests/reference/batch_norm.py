"""Batch normalisation as Ioffe and Szegedy (ICML 2015) write it."""

import numpy as np


def normalize(
    x: np.ndarray, mean: np.ndarray, variance: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float
) -> np.ndarray:
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def batch_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns mean, biased variance (Algorithm 1) and unbiased variance (Algorithm 2, line 10) of each channel."""
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    m = len(rows)
    mean = rows.sum(axis=0) / m
    biased = ((rows - mean) ** 2).sum(axis=0) / m
    return mean, biased, m / (m - 1) * biased
