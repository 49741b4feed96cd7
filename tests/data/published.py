"""Corrupted images of the published form, in small."""

from pathlib import Path

import numpy as np

from acl_tf.data.corrupted import CORRUPTIONS


def write_corrupted(folder: Path, count: int = 6, classes: int = 2, size: int = 32, seed: int = 0) -> Path:
    """Writes `labels.npy` and 19 files of five severities, `count` images each; every image has its own brightness."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    np.save(folder / "labels.npy", np.tile(labels, 5))
    for number, corruption in enumerate(CORRUPTIONS):
        # The later the corruption, and the greater the severity, the less an image's brightness says of its label.
        wrong = random.random((5, count)) < np.linspace(0.1, 0.6, 5)[:, None] * (0.3 + number / 12)
        levels = np.where((labels % 2 == 1) ^ wrong, 190, 60).ravel()
        spread = random.integers(-40, 41, (5 * count, size, size, 3))
        np.save(folder / f"{corruption}.npy", (levels[:, None, None, None] + spread).astype(np.uint8))
    return folder
