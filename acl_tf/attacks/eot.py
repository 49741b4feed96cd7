"""Expectation over transformation: attacks on models that draw random numbers."""

from collections.abc import Sequence

import tensorflow as tf

from acl_tf.attacks.base import GradientAttack, Loss


class EOT(GradientAttack):
    """An attack whose losses and gradients are means over several evaluations of the loss.

    It is for losses that differ from one evaluation to the next: a model with dropout or with noise on its inputs. A
    loss that draws from a fixed seed gives the same each time, and the mean gains nothing.

    Args:
        attack: Starts, steps and projects.
        draws: How often the loss is evaluated at each point.

    Example:

    ```python
    attack = EOT(LinfPGD(epsilon=8 / 255, step_size=2 / 255, steps=20), draws=10)
    ```

    Raises:
        ValueError: If `draws` is not positive.

    Reference: Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.2.
    """

    def __init__(self, attack: GradientAttack, draws: int) -> None:
        if draws < 1:
            raise ValueError(f"`draws` must be positive. Received: draws={draws}")
        super().__init__(attack.epsilon, attack.step_size, attack.steps, attack.momentum)
        self.attack = attack
        self.draws = draws

    def gradient(self, loss: Loss, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Unrolled, like the steps: a graph gets random operations of its own for every draw.
        values, gradients = zip(*(self.attack.gradient(loss, images) for _ in range(self.draws)))
        return tf.add_n(values) / self.draws, tf.add_n(gradients) / self.draws

    def accumulate(self, direction: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return self.attack.accumulate(direction, gradient)

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        return self.attack.start(shape, seed, dtype)

    def step(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return self.attack.step(images, gradient)

    def project(self, images: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
        return self.attack.project(images, center)
