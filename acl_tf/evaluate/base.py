"""What evaluators share: labelled images, and how a model is measured on them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from signal import Signals
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import fingerprint_with_labels, labels_of
from acl_tf.errors import Interrupted
from acl_tf.evaluate.record import record
from acl_tf.evaluate.unfinished import PartialResult, Unfinished
from acl_tf.records import Record
from acl_tf.training.interruption import Interruption
from acl_tf.training.workers import Workers

# From float32 images in [0, 1], of shape `(batch, height, width, 3)`, to logits, of shape `(batch, classes)`.
Classifier = Callable[[tf.Tensor], tf.Tensor]
# From indices, images and labels to logits, as `acl_tf.evaluate.predictor.Predictor` does: what runs on every batch.
PredictBatch = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Target(NamedTuple):
    """What is evaluated.

    Attributes:
        model: From images in [0, 1] to logits, in inference mode.
        crafted_on: What attacks look at: the same function, computed faster, or another model (black-box transfer).
        classes: How many there are.
        stochastic: Whether the same image may get other logits the next time.
    """

    model: Classifier
    crafted_on: Classifier
    classes: int
    stochastic: bool = False


class Measured(NamedTuple):
    """A record, and what it counts.

    Attributes:
        record: Of the measurement.
        withstood: Which images withstand the attack, boolean of shape `(n,)`; None where it is not about the images
            as they are, and has no part in the worst case.
    """

    record: Record
    withstood: np.ndarray | None = None


def no_progress(title: str, done: int, total: int) -> None:
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
        progress: Called with a title, and with how many images of how many are done.
        workers: That do this together; the chief alone keeps what is unfinished.
    """

    image_set: ImageSet
    seed: int = 0
    batch_size: int = 256
    model_sha256: str | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)
    unfinished: Unfinished | None = None
    interruption: Interruption | None = None
    progress: Callable[[str, int, int], None] = no_progress
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
        protocol = {**protocol, **self.protocol}
        images, labels = self.image_set.images, labels_of(self.image_set)
        about = [metric, protocol, self.model_sha256, *fingerprint_with_labels(self.image_set)]
        kept = self.unfinished.result(about) if self.unfinished else PartialResult()
        (kept.correct,) = self.workers.from_chief(lambda: [kept.correct])
        title = " ".join(str(protocol[key]) for key in ("attack", "corruption", "severity") if key in protocol)
        size, begin = self._rounded(min(self.batch_size, len(images))), time.perf_counter()
        while (done := len(kept.correct)) < len(images):
            self.progress(title, done, len(images))
            # The last batch is filled up with its last image, so that no predictor is traced twice.
            rows = np.minimum(np.arange(done, done + size), len(images) - 1)
            logits = predict(rows, images[rows].astype(np.float32) / np.float32(255.0), labels[rows])
            correct = logits.argmax(-1) == labels[rows]
            kept.correct = np.concatenate([kept.correct, correct[: len(images) - done]])
            kept.seconds, begin = kept.seconds + time.perf_counter() - begin, time.perf_counter()
            kept.save()
            self._stop_if_asked(title, len(kept.correct))
        self.progress(title, len(images), len(images))
        value = float(kept.correct.mean())
        return record(metric, value, self.image_set, protocol, self.model_sha256, kept.seconds), kept.correct

    def _rounded(self, size: int) -> int:
        """Returns the next batch size that every replica gets an equal share of."""
        return -(-size // self.workers.replicas) * self.workers.replicas

    def about(self, protocol: Mapping[str, Any]) -> "Evaluation":
        """Returns the same evaluation with more to say in its records."""
        return replace(self, protocol={**self.protocol, **protocol})

    def _stop_if_asked(self, title: str, done: int) -> None:
        signal = self.workers.highest(self.interruption.signal or 0) if self.interruption else 0
        if signal:
            raise Interrupted(
                f"Interrupted by {Signals(signal).name} after {done} of {len(self.image_set)} images of {title}. "
                "Go on by the same command with --resume.",
                signal,
            )
