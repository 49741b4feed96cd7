"""What evaluators share: labelled images, and how a model is measured on them."""

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

# From indices, images and labels to logits, as `acl_tf.evaluate.predictor.Predictor` does: what runs on every batch.
PredictBatch = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


# Of a protocol: what the progress of a measurement is called.
TITLE = ("attack", "corruption", "severity", "distortion", "strength")


class Target(NamedTuple):
    """What is evaluated.

    Attributes:
        model: Function from images in [0, 1] to logits, in inference mode.
        crafted_on: What attacks look at: the same function, computed faster, or another model (black-box transfer).
        classes: Number of classes.
    """

    model: Classifier
    crafted_on: Classifier
    classes: int

    @property
    def stochastic(self) -> bool:
        """Whether the same image may get other logits the next time."""
        return draws_noise(self.model)


class Measured(NamedTuple):
    """A record, and what it counts.

    Attributes:
        record: Of the measurement.
        withstood: Which images withstand the attack, boolean of shape `(n,)`; None where it is not about the images
            as they are, and has no part in the worst case.
    """

    record: Record
    withstood: np.ndarray | None = None


def no_progress(title: str, done: int, total: int, note: str = "") -> None:
    """Shows nothing."""


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
        progress: Called with a title, with how many images of how many are done, and perhaps with what is found so far.
        workers: That do this together; the chief alone keeps what is unfinished.
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
        images, labels = self.image_set.images, labels_of(self.image_set)
        kept = self.kept(metric, protocol, {"correct": np.zeros(0, bool)})
        (correct,) = self.workers.from_chief(lambda: [kept.arrays["correct"]])
        shown = {**protocol, **self.protocol}
        title = " ".join(str(shown[key]) for key in TITLE if key in shown)
        size, begin = self._rounded(min(self.batch_size, len(images))), time.perf_counter()
        while (done := len(correct)) < len(images):
            self.progress(title, done, len(images))
            # The last batch is filled up with its last image, so that no predictor is traced twice.
            rows = np.minimum(np.arange(done, done + size), len(images) - 1)
            logits = predict(rows, self.pixels(rows), labels[rows])
            right = (logits.argmax(-1) == labels[rows]) & ~np.isnan(logits).any(-1)  # NaN is nobody's class
            correct = np.concatenate([correct, right[: len(images) - done]])
            kept.arrays["correct"] = correct
            kept.seconds, begin = kept.seconds + time.perf_counter() - begin, time.perf_counter()
            kept.save()
            self.stop_if_asked(title, len(correct))
        self.progress(title, len(images), len(images))
        return self.record(metric, correct, protocol, kept.seconds), correct

    def kept(self, metric: str, protocol: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> PartialResult:
        """Returns what is done of a measurement.

        Args:
            metric: Name of the record's metric.
            protocol: Of this measurement.
            arrays: Of a measurement of which nothing is done.

        Raises:
            DataError: If there are no labels.
        """
        if not self.unfinished:
            return PartialResult(arrays)
        about = [metric, {**protocol, **self.protocol}, self.model_sha256, *fingerprint_with_labels(self.image_set)]
        return self.unfinished.result(about, arrays)

    def pixels(self, rows: np.ndarray | slice) -> np.ndarray:
        """Returns some images as float32 in [0, 1]."""
        return self.image_set.images[rows].astype(np.float32) / np.float32(255.0)

    def record(self, metric: str, correct: np.ndarray, protocol: Mapping[str, Any], seconds: float) -> Record:
        """Returns the record of a measurement of all images.

        Args:
            metric: Its name.
            correct: Which images are classified correctly, boolean of shape `(n,)`.
            protocol: Of this measurement.
            seconds: How long it took.
        """
        protocol = {**protocol, **self.protocol}
        return record(metric, float(correct.mean()), self.image_set, protocol, self.model_sha256, seconds)

    def _rounded(self, size: int) -> int:
        """Returns the next batch size that every replica gets an equal share of."""
        return -(-size // self.workers.replicas) * self.workers.replicas

    def about(self, protocol: Mapping[str, Any]) -> "Evaluation":
        """Returns the same evaluation with more to say in its records."""
        return replace(self, protocol={**self.protocol, **protocol})

    def stop_if_asked(self, title: str, done: int, total: int | None = None) -> None:
        """Raises `Interrupted` if a signal asked for an end, after `done` images of `total`, or of all."""
        signal = self.workers.highest(self.interruption.signal or 0) if self.interruption else 0
        if signal:
            where = f"after {done} of {total or len(self.image_set)} images of {title}"
            raise Interrupted(
                f"Interrupted by {Signals(signal).name} {where}. Go on by the same command with --resume.", signal
            )
