"""The parts that evaluators share: labelled images, and the loop that measures a model on them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from signal import Signals
from typing import Any, NamedTuple

import numpy as np

from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import fingerprint_with_labels, labels_of
from acl_tf.errors import Interrupted
from acl_tf.evaluate.record import record
from acl_tf.evaluate.unfinished import PartialResult, Unfinished
from acl_tf.records import Record
from acl_tf.stochastic import draws_noise
from acl_tf.training.interruption import Interruption
from acl_tf.training.workers import Workers
from acl_tf.types import Classifier

# From indices, images and labels of a batch to logits, as `acl_tf.evaluate.predictor.Predictor`.
PredictBatch = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


# Keys of the protocol whose values form the title of a measurement's progress.
TITLE = ("attack", "corruption", "severity", "distortion", "strength")


class Target(NamedTuple):
    """The model to evaluate.

    Attributes:
        model: Function from images in [0, 1] to logits, in inference mode.
        crafted_on: Function that attacks see: a faster form of `model`, or another model (black-box transfer).
        classes: Number of classes.
    """

    model: Classifier
    crafted_on: Classifier
    classes: int

    @property
    def stochastic(self) -> bool:
        """Whether the same image may get different logits on the next call."""
        return draws_noise(self.model)


class Measured(NamedTuple):
    """A record, and its result for each image.

    Attributes:
        record: Record of the measurement.
        withstood: Images that withstand the attack, boolean of shape `(n,)`; None: the measurement has no part in the
            worst case over several attacks.
    """

    record: Record
    withstood: np.ndarray | None = None


def no_progress(title: str, done: int, total: int, note: str = "") -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class Evaluation:
    """Labelled images, and how a model is evaluated on them.

    Attributes:
        image_set: Images with labels.
        seed: Seed of all attacks; an image's randomness is a function of it and of the image's index only.
        batch_size: Number of images in a batch, rounded up to a multiple of the replicas; it changes no result.
        model_sha256: SHA-256 of `model.keras`, for the records.
        protocol: Entries of every record's protocol besides those of the attack.
        unfinished: Store of the finished part of each measurement; None: nothing is saved.
        interruption: Tells whether a signal asked the process to end; None: signals are not checked.
        progress: Function that shows the title of a measurement, the number of finished images, the number of all
            images and, optionally, a note.
        workers: Workers that evaluate together; only the chief saves unfinished measurements.
    """

    image_set: ImageSet
    seed: int = 0
    batch_size: int = 256
    model_sha256: str | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)
    unfinished: Unfinished | None = None
    interruption: Interruption | None = None
    progress: Callable[..., None] = no_progress
    workers: Workers = field(default_factory=Workers)

    def measure(self, metric: str, predict: PredictBatch, protocol: Mapping[str, Any]) -> tuple[Record, np.ndarray]:
        """Evaluates every image, continuing from saved work.

        Args:
            metric: Name of the record's metric.
            predict: Function that returns the logits of a batch, attacked or not.
            protocol: Protocol of this measurement.

        Returns:
            The record, and a mask of the images that are classified correctly, boolean of shape `(n,)`.

        Raises:
            DataError: If there are no labels.
            Interrupted: If a signal asked the process to end; finished work is saved in `unfinished`.
        """
        images, labels = self.image_set.images, labels_of(self.image_set)
        kept = self.kept(metric, protocol, {"correct": np.zeros(0, bool)})
        (correct,) = self.workers.from_chief(lambda: [kept.arrays["correct"]])
        shown = {**protocol, **self.protocol}
        title = " ".join(str(shown[key]) for key in TITLE if key in shown)
        size, begin = self._rounded(min(self.batch_size, len(images))), time.perf_counter()
        while (done := len(correct)) < len(images):
            self.progress(title, done, len(images))
            # The last batch is filled up with copies of its last image, so that no predictor is traced twice.
            rows = np.minimum(np.arange(done, done + size), len(images) - 1)
            logits = predict(rows, self.pixels(rows), labels[rows])
            right = (logits.argmax(-1) == labels[rows]) & ~np.isnan(logits).any(-1)  # NaN is never correct
            correct = np.concatenate([correct, right[: len(images) - done]])
            kept.arrays["correct"] = correct
            kept.seconds, begin = kept.seconds + time.perf_counter() - begin, time.perf_counter()
            kept.save()
            self.stop_if_asked(title, len(correct))
        self.progress(title, len(images), len(images))
        return self.record(metric, correct, protocol, kept.seconds), correct

    def kept(self, metric: str, protocol: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> PartialResult:
        """Returns the finished part of a measurement.

        Args:
            metric: Name of the record's metric.
            protocol: Protocol of this measurement.
            arrays: Arrays of a measurement that has not begun.

        Raises:
            DataError: If there are no labels.
        """
        if not self.unfinished:
            return PartialResult(arrays)
        about = [metric, {**protocol, **self.protocol}, self.model_sha256, *fingerprint_with_labels(self.image_set)]
        return self.unfinished.result(about, arrays)

    def pixels(self, rows: np.ndarray | slice) -> np.ndarray:
        """Returns the images in some rows as float32 in [0, 1]."""
        return self.image_set.images[rows].astype(np.float32) / np.float32(255.0)

    def record(self, metric: str, correct: np.ndarray, protocol: Mapping[str, Any], seconds: float) -> Record:
        """Returns the record of a measurement of all images.

        Args:
            metric: Name of the metric.
            correct: Mask of the images that are classified correctly, boolean of shape `(n,)`.
            protocol: Protocol of this measurement.
            seconds: Duration of the measurement.
        """
        protocol = {**protocol, **self.protocol}
        return record(metric, float(correct.mean()), self.image_set, protocol, self.model_sha256, seconds)

    def _rounded(self, size: int) -> int:
        """Returns the batch size rounded up to a multiple of the number of replicas."""
        return -(-size // self.workers.replicas) * self.workers.replicas

    def about(self, protocol: Mapping[str, Any]) -> "Evaluation":
        """Returns the same evaluation with additional entries in the protocol of its records."""
        return replace(self, protocol={**self.protocol, **protocol})

    def stop_if_asked(self, title: str, done: int, total: int | None = None) -> None:
        """Raises `Interrupted` if a signal asked the process to end, after `done` of `total` images (None: of all)."""
        signal = self.workers.highest(self.interruption.signal or 0) if self.interruption else 0
        if signal:
            where = f"after {done} of {total or len(self.image_set)} images of {title}"
            raise Interrupted(
                f"Interrupted by {Signals(signal).name} {where}. Go on by the same command with --resume.", signal
            )
