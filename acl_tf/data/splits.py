"""Parts of the training images: validation split and labelled subset, stratified by class."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from acl_tf.data.image_set import ImageSet
from acl_tf.errors import DataError, UsageError

# The validation split depends only on the data set, so that no run trains on images that another validates on.
VALIDATION_SEED = 0


def default_validation_count(name: str, images: int) -> int:
    """Returns the number of training images to hold out: 5,000 on CIFAR, 10 % elsewhere."""
    return 5000 if name.startswith("cifar") and images >= 10000 else max(1, images // 10)


def hold_out(image_set: ImageSet, count: int) -> tuple[ImageSet, ImageSet]:
    """Splits the training images into a part to train on and a part to validate on.

    Args:
        image_set: All training images, with labels.
        count: Number of images to hold out; they are stratified by class and the same in every run.

    Returns:
        Both parts, in stored order; the split of the second is called `validation`.

    Raises:
        UsageError: If no image would be left to train on.
    """
    if count >= len(image_set):
        raise UsageError(
            f"The validation split must be smaller than the {len(image_set)} training images of {image_set.name}. "
            f"Received: {count}"
        )
    chosen = stratified_rows(labels_of(image_set), count, (VALIDATION_SEED,))
    rest = np.setdiff1d(np.arange(len(image_set)), chosen)
    return take(image_set, rest), replace(take(image_set, chosen), split="validation")


def label_subset(image_set: ImageSet, labels: int | float | None, seed: int) -> np.ndarray:
    """Chooses the images that keep their labels.

    Args:
        image_set: Images with labels.
        labels: Number of labels (an integer) or their fraction (a float); None: all.
        seed: Seed of the choice.

    Returns:
        Rows of the images in ascending order, stratified by class.

    Raises:
        UsageError: If there are too few images, or if a class would have no label.
    """
    classes = labels_of(image_set)
    if labels is None:
        return np.arange(len(image_set))
    count = round(labels * len(image_set)) if isinstance(labels, float) else labels
    if count > len(image_set):
        raise UsageError(f"There are only {len(image_set)} images to take labels from. Received: {labels} labels")
    rows = stratified_rows(classes, count, (seed, count))
    empty = sorted(set(np.unique(classes)) - set(np.unique(classes[rows])))
    if empty:
        names = ", ".join(image_set.classes[number] if image_set.classes else str(number) for number in empty[:5])
        raise UsageError(
            f"{count} labels leave {len(empty)} of the {len(np.unique(classes))} classes of {image_set.name} without "
            f"any ({names}); ask for more. Received: {labels}"
        )
    return rows


def stratified_rows(classes: np.ndarray, count: int, seed: Sequence[int]) -> np.ndarray:
    """Draws rows so that each class has its share of them, up to rounding.

    Args:
        classes: Class of each row, integers of shape `(n,)`.
        count: Number of rows to draw, at most n.
        seed: Seed of the draw.

    Returns:
        Rows in ascending order, integers of shape `(count,)`.
    """
    generator = np.random.default_rng(seed)
    present, sizes = np.unique(classes, return_counts=True)
    shares = sizes * count / len(classes)
    quotas = np.floor(shares).astype(int)
    # The rows left over by rounding down go to the classes with the largest remainders; ties are broken at random.
    order = np.lexsort((generator.permutation(len(present)), -(shares - quotas)))
    quotas[order[: count - quotas.sum()]] += 1
    drawn = [
        generator.permutation(np.flatnonzero(classes == label))[:quota]
        for label, quota in zip(present, quotas, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def take(image_set: ImageSet, rows: np.ndarray) -> ImageSet:
    """Returns the given rows of an image set."""
    labels = None if image_set.labels is None else image_set.labels[rows]
    return replace(image_set, images=image_set.images[rows], labels=labels)


def labels_of(image_set: ImageSet) -> np.ndarray:
    """Returns the labels of an image set.

    Raises:
        DataError: If there are none.
    """
    if image_set.labels is None:
        raise DataError(f"{image_set.name} has no labels, which are needed here.")
    return image_set.labels


def fingerprint_with_labels(image_set: ImageSet) -> list[Any]:
    """Returns a fingerprint of images and labels, as JSON values; raises like `labels_of`."""
    return [image_set.fingerprint(), zlib.crc32(labels_of(image_set).tobytes())]
