"""The manifest of a model folder, with SHA-256 and size of every file, and the comparison of the files with it."""

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from acl_tf.errors import ModelFolderError
from acl_tf.files import sha256, tidy, write_atomically
from acl_tf.model_folder.files import CARD
from acl_tf.safety.paths import MAX_TEXT_BYTES, check_files, check_names, check_size, is_cache_snapshot

MANIFEST = "manifest.json"


class FileEntry(NamedTuple):
    """The entry of a file in a manifest.

    Attributes:
        size: Size in bytes.
        sha256: SHA-256 in hexadecimal.
    """

    size: int
    sha256: str


def write_manifest(folder: Path) -> None:
    """Writes `manifest.json`: SHA-256 and size of every other file."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / MANIFEST)
    entries = {file.relative_to(folder).as_posix(): FileEntry(file.stat().st_size, sha256(file)) for file in files}
    write_atomically(folder / MANIFEST, manifest_text(entries))


def manifest_text(entries: Mapping[str, FileEntry]) -> str:
    """Returns the content of a manifest, which is the same for the same files.

    Args:
        entries: Entry of every file but the manifest, by relative path.
    """
    files = {name: {"sha256": entry.sha256, "size": entry.size} for name, entry in sorted(entries.items())}
    return json.dumps({"files": files}, indent=2) + "\n"


def read_manifest(file: Path) -> dict[str, FileEntry]:
    """Returns the files that a manifest names.

    Args:
        file: Path of the manifest.

    Raises:
        ModelFolderError: If it is damaged.
        UnsafeModelError: If it is too large to be one, or names a file outside of its folder.
    """
    check_size(file, MAX_TEXT_BYTES)
    return _parsed(file.read_bytes(), file)


def verify(folder: Path) -> None:
    """Compares every file with the manifest.

    In a cache of the Hub, only the files that were downloaded are compared. Elsewhere, the card is not compared,
    because users may edit it.

    Args:
        folder: Model folder.

    Raises:
        ModelFolderError: If a file is missing, changed, or not in the manifest.
        UnsafeModelError: If the manifest or the folder leads elsewhere: a symbolic link, `..`, an absolute path.
    """
    while True:
        manifest = _content(folder)
        try:
            _compare(folder, _parsed(manifest, folder / MANIFEST))
            return
        except (ModelFolderError, FileNotFoundError):
            if _content(folder) == manifest:
                raise
            # Another process has added records meanwhile.


def _content(folder: Path) -> bytes:
    while True:
        with contextlib.suppress(FileNotFoundError):
            check_size(folder / MANIFEST, MAX_TEXT_BYTES)
            return (folder / MANIFEST).read_bytes()
        tidy(folder)  # another process is replacing the folder, or was killed while doing so
        if not (folder / MANIFEST).is_file():
            raise ModelFolderError(f"No model folder: it has no {MANIFEST}. Received: {str(folder)!r}")


def _parsed(content: bytes, file: Path) -> dict[str, FileEntry]:
    try:
        files = json.loads(content)["files"]
        entries = {name: FileEntry(entry["size"], entry["sha256"]) for name, entry in files.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFolderError(f"{file} is damaged: {error}") from error
    check_names(entries, file)
    for name, entry in entries.items():
        if type(entry.size) is not int or not re.fullmatch("[0-9a-f]{64}", str(entry.sha256)):
            raise ModelFolderError(f"{file} is damaged: it has no size and SHA-256 of {name}.")
    return entries


def _compare(folder: Path, entries: dict[str, FileEntry]) -> None:
    check_files(folder)
    present = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {MANIFEST}
    odd = set() if is_cache_snapshot(folder) else present ^ set(entries)
    for name in sorted(odd):
        state = "is missing" if name in entries else "is not in the manifest"
        raise ModelFolderError(f"{folder / name} {state}; the folder is not as acl-tf wrote it.")
    # Users may edit the card, which nobody loads; in the cache of the Hub it must be as pushed.
    editable = set() if is_cache_snapshot(folder) else {CARD}
    for name in sorted((present & set(entries)) - editable):
        file = folder / name
        if file.stat().st_size != entries[name].size or sha256(file) != entries[name].sha256:
            raise ModelFolderError(f"{file} has changed since it was written: its SHA-256 is not the manifest's.")
