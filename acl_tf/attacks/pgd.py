"""Projected gradient descent in the l∞ ball."""

from collections.abc import Sequence

import tensorflow as tf

from acl_tf.attacks.base import GradientAttack
from acl_tf.randomness import uniform_rows


class LinfPGD(GradientAttack):
    """Steps of `step_size` along the sign of the gradient, inside the l∞ ball of radius `epsilon`.

    The loss is the caller's: NT-Xent in contrastive pre-training, cross-entropy in evaluation.

    Example:

    ```python
    attack = LinfPGD(epsilon=8 / 255, step_size=2 / 255, steps=5)
    adversarial = attack(images, loss, attack.start(images.shape, seed)).images
    ```

    Reference: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, section 2.1.
    """

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        return uniform_rows(shape, seed, -self.epsilon, self.epsilon, dtype)

    def step(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return images + self.step_size * tf.sign(gradient)

    def project(self, images: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
        inside = tf.clip_by_value(images, center - self.epsilon, center + self.epsilon)
        return tf.clip_by_value(inside, 0.0, 1.0)
