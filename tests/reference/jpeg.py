"""JPEG at quality 50 without rounding, block by block, through SciPy."""

import numpy as np
import scipy.fft

LUMINANCE = """
16 11 10 16 24 40 51 61   12 12 14 19 26 58 60 55   14 13 16 24 40 57 69 56   14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77   24 35 55 64 81 104 113 92   49 64 78 87 103 121 120 101   72 92 95 98 112 100 103 99
"""
CHROMINANCE = """
17 18 24 47 99 99 99 99   18 21 26 66 99 99 99 99   24 26 56 99 99 99 99 99   47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99
"""


def table(text: str) -> np.ndarray:
    return np.array(text.split(), float).reshape(8, 8)


def changed(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Encodes an image of 0 to 255, adds half of `values` to the quantised coefficients, and decodes it.

    `values` are those of luminance, then of the two chrominances, each block by block.
    """
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    blues = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    reds = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    halves = [(c[::2, ::2] + c[1::2, ::2] + c[::2, 1::2] + c[1::2, 1::2]) / 4 for c in (blues, reds)]
    rest, decoded = iter(values), []
    for plane, quantisation in zip([y, *halves], [table(LUMINANCE), table(CHROMINANCE), table(CHROMINANCE)]):
        result = np.empty_like(plane)
        for row in range(0, plane.shape[0], 8):
            for column in range(0, plane.shape[1], 8):
                here = slice(row, row + 8), slice(column, column + 8)
                stored = scipy.fft.dctn(plane[here] - 128, norm="ortho") / quantisation
                stored += 0.5 * np.array([next(rest) for _ in range(64)]).reshape(8, 8)
                result[here] = scipy.fft.idctn(stored * quantisation, norm="ortho") + 128
        decoded.append(result)
    y, blues, reds = decoded[0], *(np.kron(plane, np.ones((2, 2))) - 128 for plane in decoded[1:])
    colours = [y + 1.402 * reds, y - 0.344136 * blues - 0.714136 * reds, y + 1.772 * blues]
    return np.clip(np.stack(colours, axis=-1), 0, 255)
