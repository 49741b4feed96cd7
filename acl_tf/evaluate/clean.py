"""TA: accuracy on clean images."""

import numpy as np

from acl_tf.classifiers.stochastic import decided
from acl_tf.evaluate.base import Evaluation
from acl_tf.evaluate.predictor import Predictor
from acl_tf.records import Record
from acl_tf.training.workers import Workers
from acl_tf.types import Classifier


def measure(evaluation: Evaluation, model: Classifier) -> tuple[Record, np.ndarray]:
    """Measures the clean accuracy; of a smoothed classifier, that of its vote.

    Args:
        evaluation: Images, seed, batch size.
        model: From images in [0, 1] to logits, in inference mode.

    Returns:
        The record, and which images are classified correctly, boolean of shape `(n,)`.

    Raises:
        DataError: If there are no labels.
    """
    return evaluation.measure("accuracy", predictor(model, evaluation.workers), {"attack": "none"})


def predictor(model: Classifier, workers: Workers | None = None) -> Predictor:
    """Returns what predicts the logits of images as they are.

    Args:
        model: From images in [0, 1] to logits.
        workers: That predict together; None: this process.
    """
    return Predictor(lambda indices, images, labels: decided(model, images, indices), workers)
