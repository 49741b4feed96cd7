"""Models that draw noise: what an attack sees of them, and what they say in the end."""

from typing import TypeGuard

import tensorflow as tf

from acl_tf.types import Classifier, StochasticClassifier


def draws_noise(model: Classifier) -> TypeGuard[StochasticClassifier]:
    """Tells whether a model draws noise whose seeds can be given."""
    return isinstance(model, StochasticClassifier)


def seen_by_attacks(model: Classifier, indices: tf.Tensor) -> Classifier:
    """Returns what an attack differentiates: of a stochastic model, fresh noise at every call.

    The noise is a function of the seed, of the image and of the number of the call: the batch size changes nothing.

    Args:
        model: Function from images in [0, 1] to logits.
        indices: Indices of the images of the batch, integers of shape `(batch,)`.
    """
    return model.for_images(indices) if draws_noise(model) else model


def decide(model: Classifier, images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Returns what a model says of images in the end: logits, or votes that stand for them, a row an image.

    The noise of a vote is a function of the seed and of the image.

    Args:
        model: Function from images in [0, 1] to logits.
        images: Images of shape `(batch, height, width, 3)`.
        indices: Indices of the images, integers of shape `(batch,)`.
    """
    return model.decide(images, indices) if draws_noise(model) else model(images)
