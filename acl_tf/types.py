"""Names of types that several rooms share."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import tensorflow as tf

# Maps float32 images in [0, 1], of shape `(batch, height, width, channels)`, to logits, of shape `(batch, classes)`.
Classifier = Callable[[tf.Tensor], tf.Tensor]


@runtime_checkable
class StochasticClassifier(Protocol):
    """A classifier that draws noise; `acl_tf.stochastic.draws_noise` tells one from others."""

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns logits under fresh noise, of shape `(batch, classes)`."""

    def for_images(self, indices: tf.Tensor) -> Classifier:
        """Returns the same for a batch whose noise depends on which images they are, not on their place in it."""

    def seeded(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns logits under noise that seeds determine, int32 of shape `(batch, 2)`; it is what attacks ask."""

    def decide(self, images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        """Returns logits that tell what counts in the end, of images of these indices."""
