"""TA: accuracy on clean images."""

from collections.abc import Iterator

import numpy as np

from acl_tf.evaluate.base import Evaluation, Measured, Target
from acl_tf.evaluate.evaluator import Evaluator
from acl_tf.evaluate.predictor import Predictor
from acl_tf.records import Record
from acl_tf.stochastic import decide
from acl_tf.training.workers import Workers
from acl_tf.types import Classifier


class CleanAccuracy(Evaluator):
    """Accuracy on clean images."""

    attacks = False

    def run(self, evaluation: Evaluation, target: Target) -> Iterator[Measured]:
        yield Measured(measure(evaluation, target.model)[0])


def measure(evaluation: Evaluation, model: Classifier) -> tuple[Record, np.ndarray]:
    """Measures the clean accuracy; for a smoothed classifier, that of its vote.

    Args:
        evaluation: Images, seed, batch size.
        model: Function from images in [0, 1] to logits, in inference mode.

    Returns:
        The record, and a mask of the images that are classified correctly, boolean of shape `(n,)`.

    Raises:
        DataError: If there are no labels.
    """
    return evaluation.measure("accuracy", predictor(model, evaluation.workers), {"attack": "none"})


def predictor(model: Classifier, workers: Workers | None = None) -> Predictor:
    """Returns a predictor of the logits of clean images.

    Args:
        model: Function from images in [0, 1] to logits.
        workers: Workers that predict together; None: this process, on one device.
    """
    return Predictor(lambda indices, images, labels: decide(model, images, indices), workers)
