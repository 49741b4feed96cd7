"""Convolution, one output pixel at a time."""

import numpy as np


def conv2d(image: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Returns the convolution of an HWC image with an HWIO kernel, padded on all sides by half the kernel's size."""
    size = kernel.shape[0]
    padded = np.pad(image, [(size // 2, size // 2), (size // 2, size // 2), (0, 0)])
    rows, columns = ((length - size) // stride + 1 for length in padded.shape[:2])
    result = np.empty((rows, columns, kernel.shape[-1]))
    for row, column in np.ndindex(rows, columns):
        window = padded[row * stride : row * stride + size, column * stride : column * stride + size]
        result[row, column] = np.tensordot(window, kernel, axes=3)
    return result
