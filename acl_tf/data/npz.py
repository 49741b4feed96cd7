"""Images in a NumPy archive."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from acl_tf.data.image_set import ImageSet, as_rgb
from acl_tf.errors import DataError


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
    classes = () if labels is None else tuple(str(label) for label in range(int(labels.max()) + 1))
    return ImageSet(images, None if labels is None else labels.astype(np.int64), classes, path.stem, "all")
