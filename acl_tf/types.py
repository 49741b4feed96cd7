"""Names of types that several rooms share."""

from collections.abc import Callable

import tensorflow as tf

# Maps float32 images in [0, 1], of shape `(batch, height, width, channels)`, to logits, of shape `(batch, classes)`.
Classifier = Callable[[tf.Tensor], tf.Tensor]
