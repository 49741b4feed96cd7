"""Images in a NumPy archive."""

import logging
import zipfile
import zlib
from pathlib import Path

import numpy as np

from acl_tf.data.image_set import ImageSet, as_rgb
from acl_tf.errors import DataError

COUNTED = 100_000  # beyond that many, labels are identifiers, such as WordNet's, and not numbers of classes
MAX_ID = 2**31 - 1

logger = logging.getLogger(__name__)


def load_npz(path: Path) -> ImageSet:
    """Loads `images` (uint8, NHWC) and, if there are any, `labels` from an `.npz` file.

    Args:
        path: Path of the file.

    Raises:
        DataError: If the file is missing, damaged, or has arrays of the wrong form.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{path} is a single array, not an .npz archive of named ones; write it by np.savez.")
        with archive:
            arrays = {name: archive[name] for name in archive.files if name in ("images", "labels")}
            names = archive.files
    except FileNotFoundError as error:
        raise DataError(f"No such file. Received: {str(path)!r}") from error
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is not a readable .npz file: {error}") from error
    if "images" not in arrays:
        raise DataError(f"{path} must hold an array called images. Received: {', '.join(names) or 'no arrays'}")
    images = as_rgb(arrays["images"], str(path))
    labels = arrays.get("labels")
    if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu" or labels.min() < 0):
        raise DataError(
            f"labels of {path} must be {len(images)} integers from 0, one per image. "
            f"Received: {labels.dtype} of shape {labels.shape}"
        )
    if labels is None:
        return ImageSet(images, None, (), path.stem, "all")
    return ImageSet(images, *_classified(labels, path), path.stem, "all")


def _classified(labels: np.ndarray, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns labels from 0, and the names of the classes: the numbers up to the highest, or those that occur."""
    highest = int(labels.max())
    if highest > MAX_ID:
        raise DataError(f"labels of {path} must be at most {MAX_ID}. Received: {highest}")
    if highest < COUNTED:
        return labels.astype(np.int64), tuple(map(str, range(highest + 1)))
    ids, numbered = np.unique(labels, return_inverse=True)
    logger.warning(
        "labels of %s go up to %d: the %d numbers that occur are the classes, in ascending order.",
        path,
        highest,
        len(ids),
    )
    return numbered.astype(np.int64), tuple(map(str, ids.tolist()))
