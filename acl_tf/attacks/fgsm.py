"""The fast gradient sign method."""

from collections.abc import Sequence

import tensorflow as tf

from acl_tf.attacks.pgd import LinfPGD


class FGSM(LinfPGD):
    """One step of size `epsilon` along the sign of the gradient, from the image itself.

    Args:
        epsilon: Radius of the l∞ ball, in pixels of [0, 1].

    Raises:
        ValueError: If `epsilon` is negative or not finite.

    Reference: Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 4.
    """

    def __init__(self, epsilon: float) -> None:
        super().__init__(epsilon, step_size=epsilon, steps=1)

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        return tf.zeros(shape, dtype)
