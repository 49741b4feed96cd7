"""Storage for unfinished evaluations: per-image results that survive an interruption."""

import hashlib
import json
import logging
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acl_tf.files import write_npz_atomically

logger = logging.getLogger(__name__)
# Errors that reading a damaged `.npz` file raises.
UNREADABLE: tuple[type[Exception], ...] = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError)
UNREADABLE += (RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)


@dataclass
class PartialResult:
    """The results of a measurement so far, and the file that stores them.

    Attributes:
        arrays: Arrays of results. Those that are read must have the names, types and shapes of the initial ones; only
            an array that is empty at first may grow.
        file: File that stores the arrays; None: they are not stored.
        seconds: Time that the measurement has taken so far.
    """

    arrays: dict[str, np.ndarray]
    file: Path | None = None
    seconds: float = 0.0

    def read(self) -> None:
        """Reads the arrays from the file; if it is damaged, warns and keeps the initial ones."""
        if self.file is None:
            return
        try:
            with np.load(self.file, allow_pickle=False) as stored:
                arrays, seconds = {name: stored[name] for name in self.arrays}, float(stored["seconds"])
            for name, array in arrays.items():
                begun = self.arrays[name]
                fits = array.shape == begun.shape or (begun.size == 0 and array.ndim == begun.ndim)
                if array.dtype != begun.dtype or not fits:
                    raise ValueError(f"{array.dtype} of shape {array.shape}")
            self.arrays, self.seconds = arrays, seconds
        except FileNotFoundError:
            return
        except UNREADABLE as error:
            logger.warning("%s is damaged (%s); what it is of starts afresh.", self.file, error)

    def save(self) -> None:
        """Writes the file."""
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_npz_atomically(self.file, **self.arrays, seconds=self.seconds)


class Unfinished:
    """A store of unfinished measurements: one file each, in a folder that several evaluations may share.

    Args:
        folder: Folder of the files.
        resume: Whether measurements that an earlier evaluation left unfinished are continued.
    """

    def __init__(self, folder: Path, resume: bool = True) -> None:
        self.folder = folder
        self.resume = resume
        self.files: list[Path] = []

    def result(self, measurement: Any, arrays: dict[str, np.ndarray]) -> PartialResult:
        """Returns the finished part of a measurement.

        Args:
            measurement: JSON value that identifies the measurement.
            arrays: Arrays of a measurement that has not begun.
        """
        key = hashlib.sha256(json.dumps(measurement, sort_keys=True).encode()).hexdigest()[:24]
        self.files.append(self.folder / f"unfinished-{key}.npz")
        kept = PartialResult(arrays, self.files[-1])
        if self.resume:
            kept.read()
        return kept

    def discard(self) -> None:
        """Removes the files of this evaluation's measurements."""
        for file in self.files:
            file.unlink(missing_ok=True)
