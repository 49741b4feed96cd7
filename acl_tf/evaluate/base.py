"""What evaluators share: a model, labelled images, and per-image results that survive an interruption."""

import hashlib
import io
import json
import logging
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import labels_of
from acl_tf.errors import Interrupted
from acl_tf.evaluate.record import record
from acl_tf.files import write_atomically
from acl_tf.records import Record
from acl_tf.training.interruption import Interruption

logger = logging.getLogger(__name__)
# What reading a damaged `.npz` file raises.
UNREADABLE: tuple[type[Exception], ...] = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError)
UNREADABLE += (RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)
# From float32 images in [0, 1], of shape `(batch, height, width, 3)`, to logits, of shape `(batch, classes)`.
Classifier = Callable[[tf.Tensor], tf.Tensor]
# A `tf.function` from indices, images and labels to logits: what an evaluator runs on every batch.
Predict: TypeAlias = "tf.types.experimental.PolymorphicFunction"


@dataclass(frozen=True)
class Evaluation:
    """Labelled images, and how a model is evaluated on them.

    Attributes:
        image_set: With labels.
        seed: Of all attacks; an image's randomness is a function of it and of the image's index alone.
        batch_size: It does not change any result.
        model_sha256: Of `model.keras`, for the records.
        protocol: What every number depends on beside the attack.
        unfinished: Keeps what is done of a measurement; None: nothing does.
        interruption: Whether the user wants an end.
        progress: Called with a title, and with how many images of how many are done.
    """

    image_set: ImageSet
    seed: int = 0
    batch_size: int = 256
    model_sha256: str | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)
    unfinished: "Unfinished | None" = None
    interruption: Interruption | None = None
    progress: Callable[[str, int, int], None] = lambda title, done, total: None

    def measure(self, metric: str, predict: Predict, protocol: Mapping[str, Any]) -> tuple[Record, np.ndarray]:
        """Evaluates every image.

        Args:
            metric: Name of the record's metric.
            predict: Returns the logits of a batch, attacked or not.
            protocol: Of this measurement.

        Returns:
            The record, and which images are classified correctly, boolean of shape `(n,)`.

        Raises:
            DataError: If there are no labels.
            Interrupted: If a signal asked for an end; what is done is kept in `unfinished`.
        """
        protocol = {**protocol, **self.protocol}
        images, labels = self.image_set.images, labels_of(self.image_set)
        about = [metric, protocol, self.model_sha256, self.image_set.fingerprint(), zlib.crc32(labels.tobytes())]
        kept = self.unfinished.result(about) if self.unfinished else PartialResult()
        title = " ".join(str(protocol[key]) for key in ("attack", "corruption", "severity") if key in protocol)
        size, begin = min(self.batch_size, len(images)), time.perf_counter()
        while (done := len(kept.correct)) < len(images):
            self.progress(title, done, len(images))
            # The last batch is filled up with its last image, so that no predictor is traced twice.
            rows = np.minimum(np.arange(done, done + size), len(images) - 1)
            batch = tf.cast(images[rows], tf.float32) / 255.0
            arguments = tf.constant(rows, tf.int32), batch, tf.constant(labels[rows])
            # Called as a graph: TensorFlow takes the predictors of several models for one that is traced too often.
            logits = predict.get_concrete_function(*arguments)(*arguments).numpy()
            correct = logits.argmax(-1) == labels[rows]
            kept.correct = np.concatenate([kept.correct, correct[: len(images) - done]])
            kept.seconds, begin = kept.seconds + time.perf_counter() - begin, time.perf_counter()
            kept.save()
            self._stop_if_asked(title, len(kept.correct))
        self.progress(title, len(images), len(images))
        value = float(kept.correct.mean())
        return record(metric, value, self.image_set, protocol, self.model_sha256, kept.seconds), kept.correct

    def about(self, protocol: Mapping[str, Any]) -> "Evaluation":
        """Returns the same evaluation with more to say in its records."""
        return replace(self, protocol={**self.protocol, **protocol})

    def _stop_if_asked(self, title: str, done: int) -> None:
        if self.interruption and (signal := self.interruption.signal):
            raise Interrupted(
                f"Interrupted by {signal.name} after {done} of {len(self.image_set)} images of {title}. "
                "Go on by the same command with --resume.",
                signal,
            )


@dataclass
class PartialResult:
    """Which of the first images are classified correctly, and the file that remembers it.

    Attributes:
        file: None where nothing is kept.
        correct: Boolean, of shape `(done,)`.
        seconds: How long it took.
    """

    file: Path | None = None
    correct: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    seconds: float = 0.0

    def read(self) -> None:
        """Takes up what the file remembers: nothing where it is damaged, which is said."""
        if self.file is None:
            return
        try:
            with np.load(self.file, allow_pickle=False) as arrays:
                correct, seconds = arrays["correct"], float(arrays["seconds"])
            if correct.dtype != bool or correct.ndim != 1:
                raise ValueError(f"{correct.dtype} of shape {correct.shape}")
            self.correct, self.seconds = correct, seconds
        except FileNotFoundError:
            return
        except UNREADABLE as error:
            logger.warning("%s is damaged (%s); what it is of starts afresh.", self.file, error)

    def save(self) -> None:
        """Writes the file."""
        if self.file is not None:
            buffer = io.BytesIO()
            np.savez(buffer, correct=self.correct, seconds=self.seconds)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, buffer.getvalue())


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

    def result(self, measurement: Any) -> PartialResult:
        """Returns what is done of a measurement; `measurement` is JSON that tells it from every other one."""
        key = hashlib.sha256(json.dumps(measurement, sort_keys=True).encode()).hexdigest()[:24]
        self.files.append(self.folder / f"unfinished-{key}.npz")
        kept = PartialResult(self.files[-1])
        if self.resume:
            kept.read()
        return kept

    def discard(self) -> None:
        """Removes the files of this evaluation's measurements."""
        for file in self.files:
            file.unlink(missing_ok=True)
