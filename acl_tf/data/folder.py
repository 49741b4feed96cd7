"""A folder of image files."""

import contextlib
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from acl_tf.data.image_set import ImageSet, as_rgb
from acl_tf.errors import DataError
from acl_tf.printable import some

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Pillow would ask the content, whatever the suffix says, for every format that it knows, and run Ghostscript for some.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

EXAMPLES = 3  # of files that are left out

logger = logging.getLogger(__name__)


def load_folder(
    path: Path, image_size: int | None = None, limit: int | None = None, skip_bad_images: bool = False
) -> ImageSet:
    """Loads a folder of images into memory, in alphabetical order; classes that are numbers, in the order of these.

    Sub-folders with images are classes; images directly in the folder are unlabelled. Hidden files and folders, images
    in deeper folders, links that lead nowhere and files of other suffixes are left out, and counted in one warning.

    Args:
        path: Path of the folder.
        image_size: Height and width to which images are resized; None: all images must have one size.
        limit: Number of images to take, the first in order; None: all.
        skip_bad_images: Whether to leave out unreadable images and report them, instead of stopping at the first.

    Raises:
        DataError: If there is no image, if one is unreadable, if sizes differ, or if they do not fit into memory.
    """
    files, labels, classes = _list(path)
    _report_others(path, files)
    files, labels = files[:limit], labels[:limit]
    _check_memory(files, image_size, path)
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda file: _decode_or_skip(file, image_size, skip_bad_images), files))
    rows = zip(files, labels, decoded, strict=True)
    read = [(file, label, image) for file, label, image in rows if image is not None]
    if len(read) < len(files):
        logger.warning("Left out %d of %d images of %s that cannot be read.", len(files) - len(read), len(files), path)
    if not read:
        raise DataError(f"None of the {len(files)} images of {path} can be read.")
    images = [image for _, _, image in read]
    _check_sizes([file for file, _, _ in read], images)
    return ImageSet(
        images=as_rgb(np.stack(images), str(path)),
        labels=np.array([label for _, label, _ in read], np.int64) if classes else None,
        classes=classes,
        name=path.resolve().name,
        split="all",
    )


def _list(path: Path) -> tuple[list[Path], list[int], tuple[str, ...]]:
    """Returns the image files, their labels (0 if there are no classes), and the classes."""
    folders = _in_order(folder for folder in path.iterdir() if folder.is_dir() and not _is_hidden(folder))
    by_class = {folder.name: files for folder in folders if (files := _images(folder))}
    flat = _images(path)
    if flat and by_class:
        raise DataError(
            f"{path} holds images both directly and in class sub-folders. "
            f"Received: {flat[0].name} beside the folder {next(iter(by_class))}"
        )
    if not flat and not by_class:
        raise DataError(
            f"There is no image in {path} or its sub-folders; files must end in {', '.join(SUFFIXES)}. "
            f"Received: {sum(1 for _ in path.iterdir())} other entries"
        )
    if flat:
        return flat, [0] * len(flat), ()
    pairs = [(file, label) for label, files in enumerate(by_class.values()) for file in files]
    return [file for file, _ in pairs], [label for _, label in pairs], tuple(by_class)


def _images(folder: Path) -> list[Path]:
    return sorted(
        file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file() and not _is_hidden(file)
    )


def _in_order(folders: Iterable[Path]) -> list[Path]:
    """Sorts classes by name, and by number where all names are numbers: 2 before 10."""
    given = list(folders)
    if all(folder.name.isascii() and folder.name.isdecimal() for folder in given):
        return sorted(given, key=lambda folder: (int(folder.name), folder.name))
    return sorted(given)


def _is_hidden(path: Path) -> bool:
    """Tells what programs leave beside images, such as `.ipynb_checkpoints` and `._photo.jpg`."""
    return path.name.startswith(".")


def _report_others(path: Path, taken: Sequence[Path]) -> None:
    """Warns of files that are not taken for images, and names some of them."""
    known = set(taken)
    others = sorted(
        file for folder, _, names in os.walk(path) for name in names if (file := Path(folder, name)) not in known
    )
    if others:
        logger.warning(
            "Left out %d of %d files below %s, which are no images of a class, or hidden: %s",
            len(others),
            len(others) + len(known),
            path,
            some([file.relative_to(path) for file in others], EXAMPLES),
        )


def _decode_or_skip(file: Path, image_size: int | None, skip_bad_images: bool) -> np.ndarray | None:
    try:
        return _decode(file, image_size)
    except DataError as error:
        if not skip_bad_images:
            raise DataError(f"{error}. Repair or remove it, or go on without it by --skip-bad-images.") from error
        logger.warning("%s", error)
        return None


def _decode(file: Path, image_size: int | None) -> np.ndarray:
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would clip them at 255
                raise ValueError(f"it has more than 8 bits per channel (mode {image.mode})")
            upright = ImageOps.exif_transpose(image).convert("RGB")
            if image_size:
                upright = upright.resize((image_size, image_size), Image.Resampling.BICUBIC)
            return np.asarray(upright)
    except UnidentifiedImageError as error:
        raise DataError(f"Cannot read the image {file}: it is none of {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"Cannot read the image {file}: {error}") from error


def _check_sizes(files: Sequence[Path], images: Sequence[np.ndarray]) -> None:
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise DataError(
                f"The images have different sizes; resize them all with --set data.image_size=32, for example. "
                f"Received: {_size(images[0])} in {files[0].name}, {_size(image)} in {file.name}"
            )


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _check_memory(files: Sequence[Path], image_size: int | None, path: Path) -> None:
    """Checks that the images fit into memory before the machine starts to swap, from the size of the first image."""
    first = _first_readable(files, image_size)
    if first is None or not hasattr(os, "sysconf"):
        return
    needed = 2 * len(files) * first.nbytes  # the decoded list and the stacked array
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > available:
        raise DataError(
            f"{len(files)} images of {_size(first)} need {needed / 2**30:.1f} GiB of memory; "
            "lower data.image_size or data.limit, or prepare them as a TFDS data set of smaller images. "
            f"Received: {available / 2**30:.1f} GiB free"
        )


def _first_readable(files: Sequence[Path], image_size: int | None) -> np.ndarray | None:
    for file in files:
        with contextlib.suppress(DataError):
            return _decode(file, image_size)
    return None
