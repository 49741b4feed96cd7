"""TA: accuracy on clean images."""

import numpy as np
import tensorflow as tf

from acl_tf.evaluate.base import Classifier, Evaluation, Predict
from acl_tf.records import Record


def measure(evaluation: Evaluation, model: Classifier) -> tuple[Record, np.ndarray]:
    """Measures the clean accuracy.

    Args:
        evaluation: Images, seed, batch size.
        model: From images in [0, 1] to logits, in inference mode.

    Returns:
        The record, and which images are classified correctly, boolean of shape `(n,)`.

    Raises:
        DataError: If there are no labels.
    """
    return evaluation.measure("accuracy", predictor(model), {"attack": "none"})


def predictor(model: Classifier) -> Predict:
    """Returns what predicts the logits of images as they are."""

    @tf.function
    def predict(indices: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return model(images)

    return predict
