"""CIFAR-10-C and CIFAR-100-C: test images under common corruptions."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from acl_tf.data.image_set import ImageSet, as_rgb
from acl_tf.errors import DataError, UsageError

# Names of the published files; robustness is usually reported as the mean over these.
BENCHMARK_CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
# Published with them, for validation; ACL's Fig. 2 uses all 19.
EXTRA_CORRUPTIONS = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
CORRUPTIONS = BENCHMARK_CORRUPTIONS + EXTRA_CORRUPTIONS
SEVERITIES = (1, 2, 3, 4, 5)
# With this many images per class, a missing class means that the files are of another data set.
IMAGES_PER_CLASS = 50
# Two of them have other names in TFDS.
TFDS_NAMES = {"glass_blur": "frosted_glass_blur", "elastic_transform": "elastic"}


def check_corrupted_folder(folder: Path) -> None:
    """Checks that a folder holds `labels.npy` and the 19 published files.

    Raises:
        UsageError: If the folder or one of the files is missing.
    """
    if not folder.is_dir():
        raise UsageError(f"No such folder of corrupted images. Received: {str(folder)!r}")
    missing = [name for name in ("labels", *CORRUPTIONS) if not (folder / f"{name}.npy").is_file()]
    if missing:
        raise UsageError(
            f"{folder} must hold labels.npy and one .npy file for each of the {len(CORRUPTIONS)} corruptions; "
            f"{len(missing)} are missing: {', '.join(f'{name}.npy' for name in missing[:5])}"
        )


def load_corrupted_folder(
    folder: Path, corruption: str, severity: int, classes: tuple[str, ...], limit: int | None = None
) -> ImageSet:
    """Loads one corruption at one severity from the published `.npy` files.

    Each file holds the five severities one after the other.

    Args:
        folder: Folder that holds `labels.npy`, `fog.npy`, ….
        corruption: Name of the corruption, one of `CORRUPTIONS`.
        severity: Severity, from 1 to 5.
        classes: Names of the classes, in the order of the labels.
        limit: Number of images to take, the first of each severity; None: all.

    Raises:
        DataError: If a file is damaged, or does not hold an image for each label at each severity.
        UsageError: If the labels do not fit the classes.
    """
    labels, images = _load(folder / "labels.npy"), _load(folder / f"{corruption}.npy")
    wrong = labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) % len(SEVERITIES)
    if wrong or images.shape[:1] != labels.shape:
        raise DataError(
            f"{folder / corruption}.npy must hold as many images as labels.npy holds labels, the five severities one "
            f"below the other. Received: {images.shape} and {labels.dtype} of shape {labels.shape}"
        )
    low, high = int(labels.min()), int(labels.max())
    every_class_occurs = len(labels) >= IMAGES_PER_CLASS * len(classes)
    if low < 0 or high >= len(classes) or (every_class_occurs and high < len(classes) - 1):
        raise UsageError(
            f"labels.npy of {folder} must hold labels from 0 to {len(classes) - 1}, the model's classes. "
            f"Received: {low} to {high}"
        )
    count = len(images) // len(SEVERITIES)
    rows = slice((severity - 1) * count, severity * count)
    labels = np.asarray(labels[rows], np.int64)
    name = folder.resolve().name
    return ImageSet(as_rgb(np.asarray(images[rows]), name), labels, classes, name, "test").first(limit)


def load_corrupted_tfds(corruption: str, severity: int, data_dir: str | None, limit: int | None = None) -> ImageSet:
    """Loads one corruption at one severity of CIFAR-10-C through TFDS.

    Args:
        corruption: Name of the corruption, one of `CORRUPTIONS`.
        severity: Severity, from 1 to 5.
        data_dir: Folder of the data sets that TFDS has prepared.
        limit: Number of images to take, the first in stored order; None: all.

    Raises:
        DataError: If it is not prepared and cannot be downloaded.
    """
    from acl_tf.data.tfds import load_tfds

    name = f"cifar10_corrupted/{TFDS_NAMES.get(corruption, corruption)}_{severity}"
    return replace(load_tfds(name, "test", data_dir, limit), name="cifar10_corrupted")


def _load(file: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(file, mode="r")
    except Exception as error:  # NumPy's parser of the header can raise anything
        raise DataError(f"{file} is not a readable .npy file: {' '.join(str(error).split())}") from error
