"""The diamond-square algorithm on a map that repeats itself, point by point."""

import numpy as np


def fog_map(numbers: np.ndarray, side: int, decay: float = 2.0) -> np.ndarray:
    """`numbers` in [0, 1]: for each level those of the squares' centres, upper edges and left edges, row by row."""
    grid, step, size, rest = np.zeros((side, side)), side, 1.0, iter(numbers.astype(np.float64))
    while step >= 2:
        half = step // 2
        corners = [(row, column) for row in range(0, side, step) for column in range(0, side, step)]
        for offset, neighbours in (
            ((half, half), [(-half, -half), (-half, half), (half, -half), (half, half)]),
            ((0, half), [(0, -half), (0, half), (-half, 0), (half, 0)]),
            ((half, 0), [(0, -half), (0, half), (-half, 0), (half, 0)]),
        ):
            for corner in corners:
                row, column = corner[0] + offset[0], corner[1] + offset[1]
                mean = np.mean([grid[(row + down) % side, (column + right) % side] for down, right in neighbours])
                grid[row, column] = mean + size * (2 * next(rest) - 1)
        step, size = half, size / decay
    return (grid - grid.min()) / (grid.max() - grid.min())
