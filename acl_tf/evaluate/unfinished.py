"""What an interrupted evaluation has done: per-image results that survive it."""

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
# What reading a damaged `.npz` file raises.
UNREADABLE: tuple[type[Exception], ...] = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError)
UNREADABLE += (RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)


@dataclass
class PartialResult:
    """Arrays that say what is done of a measurement, and the file that remembers them.

    Attributes:
        arrays: As they are at the beginning; what is read has the same names and types and, but for an empty one, which
            grows, the same shapes.
        file: None where nothing is kept.
        seconds: How long it took.
    """

    arrays: dict[str, np.ndarray]
    file: Path | None = None
    seconds: float = 0.0

    def read(self) -> None:
        """Takes up what the file remembers: nothing where it is damaged, which is said."""
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
    """What evaluations have done of their measurements: a file each in one folder, which several may share.

    Args:
        folder: Of the files.
        resume: Whether what an earlier evaluation left is taken up.
    """

    def __init__(self, folder: Path, resume: bool = True) -> None:
        self.folder = folder
        self.resume = resume
        self.files: list[Path] = []

    def result(self, measurement: Any, arrays: dict[str, np.ndarray]) -> PartialResult:
        """Returns what is done of a measurement.

        Args:
            measurement: JSON that tells it from every other one.
            arrays: Of a measurement of which nothing is done.
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
