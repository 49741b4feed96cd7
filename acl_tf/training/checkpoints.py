"""Checkpoints: each a folder that is whole or absent."""

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from acl_tf.errors import CheckpointError
from acl_tf.files import folder_atomically

STATE = "state"
ABOUT = "checkpoint.json"
# What reading a damaged checkpoint raises: the file system, JSON that is none or of another form, TensorFlow.
UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    tf.errors.OpError,
)

logger = logging.getLogger(__name__)


class Checkpoints:
    """Keeps the newest few states of a training, in folders called `step-00000123`.

    TensorFlow writes and reads the state, with a checksum for each tensor. Unlike `tf.train.CheckpointManager`'s,
    each checkpoint appears by one rename, and a damaged one does not stand in the way of the one before it.

    Args:
        folder: Folder of the checkpoints.
        keep: Number of checkpoints to keep.
        about: What a checkpoint must agree in to be continued from: architecture, data, …; JSON values.
        **trackables: Models, optimisers and variables to save.
    """

    def __init__(self, folder: Path, keep: int, about: dict[str, Any], **trackables: Any) -> None:
        self.folder = folder
        self.keep = keep
        self.about = about
        self.checkpoint = tf.train.Checkpoint(**trackables)
        for leftover in folder.glob(".step-*"):  # of a process that was killed
            shutil.rmtree(leftover)

    def save(self, step: int) -> Path:
        """Writes the state after `step` steps, and removes the oldest.

        Raises:
            CheckpointError: If it cannot be written; those before it are still there.
        """
        path = self._path(step)
        try:
            with folder_atomically(path) as folder:
                self.checkpoint.write(str(folder / STATE))
                (folder / ABOUT).write_text(json.dumps({"step": step, **self.about}, indent=2), encoding="utf-8")
        except (OSError, tf.errors.OpError) as error:
            kept = self.paths()
            raise CheckpointError(
                f"Cannot write the checkpoint of step {step} to {self.folder}: {_reason(error)}. "
                f"{kept[-1].name + ' is kept' if kept else 'There is none before it'}; "
                "make room and go on with --resume."
            ) from error
        for old in self.paths()[: -self.keep]:
            shutil.rmtree(old)
        return path

    def paths(self) -> list[Path]:
        """Returns the checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())

    def restore(self) -> int:
        """Restores the newest checkpoint that can be read.

        Returns:
            Number of steps that it had taken; 0 where there is no checkpoint.

        Raises:
            CheckpointError: If none can be read, or if the newest is of another architecture, data set, ….
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
                step = about.pop("step")
                if path != self._path(step):
                    raise ValueError(f"it says that it is of step {step}")
                self._check(path, about)
                self.checkpoint.read(str(path / STATE)).assert_existing_objects_matched()
                return step
            except UNREADABLE as error:
                logger.warning("The checkpoint %s cannot be read (%s); trying the one before it.", path, _reason(error))
        if paths:
            raise CheckpointError(f"None of the {len(paths)} checkpoints in {self.folder} can be read.")
        return 0

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _check(self, path: Path, about: dict[str, Any]) -> None:
        for key in sorted(set(about) | set(self.about)):
            if about.get(key) != self.about.get(key):
                raise CheckpointError(
                    f"The checkpoint {path} is of another {key}. "
                    f"Expected: {_plain(self.about.get(key))}. Received: {_plain(about.get(key))}"
                )


def _plain(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)


def _reason(error: Exception) -> str:
    message = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    if isinstance(error, tf.errors.OpError):  # {{where}} path; what [Op:name]
        message = re.sub(r"^\{\{.*?\}\}|\[Op:.*\]$", "", message).rsplit("; ", 1)[-1]
    return " ".join(str(message).split())[:200] or type(error).__name__
