"""Checks of the names and sizes of files from untrusted sources."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from acl_tf.errors import UnsafeModelError

# The largest backbone, a WRN-34-10, has 46 million weights: 185 MB. JSON files are kept in memory whole.
MAX_BYTES = 4 * 2**30
MAX_TEXT_BYTES = 64 * 2**20
TEXTS = (".json", ".jsonl", ".md")
# Characters in the file names of acl-tf, Keras and TensorFlow; none of them is special in a shell or a glob pattern.
PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]+")


def check_names(names: Iterable[str], origin: object) -> None:
    """Checks that each name is a plain relative path that stays inside its folder.

    Args:
        names: Relative paths, as a manifest or a repository gives them.
        origin: Source of the names, for error messages.

    Raises:
        UnsafeModelError: If a name is absolute, leads outside its folder, or has special characters.
    """
    for name in names:
        if name.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", name):
            raise UnsafeModelError(f"{origin} names an absolute path; nothing of it was read. Received: {name!r}")
        parts = name.split("/")
        if ".." in parts:
            raise UnsafeModelError(f"{origin} names a path outside of it; nothing of it was read. Received: {name!r}")
        if not all(part != "." and PLAIN_NAME.fullmatch(part) for part in parts):
            raise UnsafeModelError(
                f"{origin} names a file by other than letters, digits, '.', '_', '-' and '/'. Received: {name!r}"
            )


def check_files(folder: Path) -> None:
    """Checks that a folder holds only plain files of plausible size.

    The links of a Hub cache, from a snapshot to the blobs beside it, are allowed.

    Args:
        folder: Folder to check; links out of it are not followed.

    Raises:
        UnsafeModelError: If it holds a symbolic link, a device or socket, or a file too large for a model.
    """
    for file in sorted(folder.rglob("*")):
        if file.is_symlink() and not is_cache_link(file, folder):
            raise UnsafeModelError(
                f"{folder} holds a symbolic link; copy the file instead. Received: {_relative(file, folder)!r}"
            )
        if not (file.is_file() or file.is_dir()):
            raise UnsafeModelError(f"{folder} holds what is not a file. Received: {_relative(file, folder)!r}")
        if file.is_file():
            check_size(file, MAX_TEXT_BYTES if file.suffix in TEXTS else MAX_BYTES)


def check_size(file: Path, limit: int = MAX_BYTES) -> None:
    """Checks that a file is not larger than a limit, without opening it.

    Raises:
        UnsafeModelError: If the file is larger.
    """
    size = file.stat().st_size
    if size > limit:
        raise UnsafeModelError(
            f"{file} is too large for what it is called; it was not read. "
            f"Received: {size / 2**30:.1f} GiB, where {limit / 2**30:.2g} GiB are the most"
        )


def is_cache_snapshot(folder: Path) -> bool:
    """Returns whether a folder is a snapshot in a cache of the Hub: `models--user--name/snapshots/<sha>`."""
    return folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")


def is_cache_link(file: Path, folder: Path) -> bool:
    """Returns whether a link leads from a snapshot in a cache of the Hub to the blobs of the same repository."""
    # The blob folder itself must not be a link, which could lead anywhere.
    return is_cache_snapshot(folder) and file.resolve().parent == folder.parent.parent.resolve() / "blobs"


def _relative(file: Path, folder: Path) -> str:
    return PurePosixPath(file.relative_to(folder)).as_posix()
