"""Evaluation of models that may draw noise: what an attack differentiates, and the final decision."""

import tensorflow as tf

from acl_tf.attacks.autoattack.rebatching import decide
from acl_tf.classifiers.smoothed import SmoothedClassifier
from acl_tf.types import Classifier


def draws_noise(model: Classifier) -> bool:
    """Returns whether a model is smoothed."""
    return isinstance(model, SmoothedClassifier)


def seen_by_attacks(model: Classifier, indices: tf.Tensor) -> Classifier:
    """Returns the function that an attack differentiates; a smoothed model has fresh noise in every call.

    The noise is a function of the seed, of the image and of the number of the call: the batch size changes nothing.

    Args:
        model: Function from images in [0, 1] to logits.
        indices: Indices of the batch's images in the data set, integers of shape `(batch,)`.
    """
    return model.for_images(indices) if isinstance(model, SmoothedClassifier) else model


def decided(model: Classifier, images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Returns the decision of a model, of shape `(batch, classes)`: logits, or the votes of a smoothed model.

    The noise of a vote is a function of the seed and of the image.

    Args:
        model: Function from images in [0, 1] to logits.
        images: Images in [0, 1], of shape `(batch, height, width, 3)`.
        indices: Indices of the images in the data set, integers of shape `(batch,)`.
    """
    return decide(model, images, indices)
