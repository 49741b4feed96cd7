"""How evaluators ask a model that may draw noise: what an attack sees of a batch, and what counts in the end."""

import tensorflow as tf

from acl_tf.attacks.autoattack.rebatching import decide
from acl_tf.classifiers.smoothed import SmoothedClassifier
from acl_tf.types import Classifier


def draws_noise(model: Classifier) -> bool:
    """Tells whether a model is smoothed."""
    return isinstance(model, SmoothedClassifier)


def seen_by_attacks(model: Classifier, indices: tf.Tensor) -> Classifier:
    """Returns what an attack differentiates: of a smoothed model, fresh noise at every call.

    The noise is a function of the seed, of the image and of the number of the call: the batch size changes nothing.

    Args:
        model: From images in [0, 1] to logits.
        indices: Of the images of the batch, integers of shape `(batch,)`.
    """
    return model.for_images(indices) if isinstance(model, SmoothedClassifier) else model


def decided(model: Classifier, images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Returns what a model says of images, of shape `(batch, classes)`: logits, or the votes of a smoothed one.

    The noise of a vote is a function of the seed and of the image.

    Args:
        model: From images in [0, 1] to logits.
        images: Of shape `(batch, height, width, 3)`.
        indices: Of the images, integers of shape `(batch,)`.
    """
    return decide(model, images, indices)
