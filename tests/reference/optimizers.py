"""One step of the optimisers, for one variable: returns the new weights and the new buffer."""

import numpy as np


def lars_step(
    w: np.ndarray,
    g: np.ndarray,
    buffer: np.ndarray,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    trust: float,
) -> tuple[np.ndarray, np.ndarray]:
    """You et al. (arXiv 1708.03888), Algorithm 1, in the form of ACL's released code."""
    w_norm, g_norm = np.sqrt(np.sum(w**2)), np.sqrt(np.sum(g**2))
    local = 1.0 if w_norm < 1e-15 or g_norm < 1e-15 else trust * w_norm / (g_norm + weight_decay * w_norm)
    buffer = momentum * buffer + learning_rate * local * (g + weight_decay * w)
    return w - buffer, buffer


def sgd_step(
    w: np.ndarray,
    g: np.ndarray,
    buffer: np.ndarray,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Momentum SGD as PyTorch documents it, without dampening."""
    g = g + weight_decay * w
    buffer = momentum * buffer + g
    return w - learning_rate * (g + momentum * buffer if nesterov else buffer), buffer
