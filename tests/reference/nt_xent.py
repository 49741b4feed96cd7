"""NT-Xent as Chen et al. (ICML 2020) write it, one pair of views at a time."""

import numpy as np


def similarity(u: np.ndarray, v: np.ndarray) -> float:
    return u @ v / (np.linalg.norm(u) * np.linalg.norm(v))


def nt_xent(*views: np.ndarray, temperature: float) -> np.ndarray:
    """Eq. 1 for every view, those of the first projections first; summed over the other views of the same image."""
    z = np.concatenate(views).astype(np.float64)
    return np.array([_of_anchor(z[i], z, i, len(views[0]), temperature) for i in range(len(z))])


def gradients_with_constant_seconds(*views: np.ndarray, temperature: float) -> list[np.ndarray]:
    """Gradients of the sum of the losses, by central differences of the anchor of each similarity alone."""
    z, step = np.concatenate(views).astype(np.float64), 1e-6
    gradient = np.empty_like(z)
    for i, k in np.ndindex(z.shape):
        moved = step * np.eye(z.shape[1])[k]
        above, below = (_of_anchor(z[i] + d, z, i, len(views[0]), temperature) for d in (moved, -moved))
        gradient[i, k] = (above - below) / (2 * step)
    return np.split(gradient, len(views))


def _of_anchor(anchor: np.ndarray, z: np.ndarray, i: int, batch: int, temperature: float) -> float:
    """The loss of row i of `z`, at which `anchor` stands where it is compared with the other rows."""
    scores = np.array([np.exp(similarity(anchor, other) / temperature) for other in z])
    others = [k for k in range(len(z)) if k != i]
    return sum(-np.log(scores[j] / scores[others].sum()) for j in others if j % batch == i % batch)
