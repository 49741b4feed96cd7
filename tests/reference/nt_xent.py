"""NT-Xent as Chen et al. (ICML 2020) write it, one pair of views at a time."""

import numpy as np


def similarity(u: np.ndarray, v: np.ndarray) -> float:
    return u @ v / (np.linalg.norm(u) * np.linalg.norm(v))


def nt_xent(z_i: np.ndarray, z_j: np.ndarray, temperature: float) -> np.ndarray:
    """Eq. 1 for every view, those of `z_i` first."""
    z = np.concatenate([z_i, z_j]).astype(np.float64)
    half = len(z_i)
    losses = []
    for i in range(2 * half):
        j = i + half if i < half else i - half
        others = [np.exp(similarity(z[i], z[k]) / temperature) for k in range(2 * half) if k != i]
        losses.append(-np.log(np.exp(similarity(z[i], z[j]) / temperature) / sum(others)))
    return np.array(losses)
