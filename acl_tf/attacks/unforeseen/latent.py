"""The loop of attacks that change the latent variables of a distortion instead of pixels."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from acl_tf.attacks.base import Attack, Loss, check_numbers


class Latent(NamedTuple):
    """The latent variables from which the distortion of each image is made.

    Attributes:
        moving: Variables that the attack optimises: one tensor, whose first axis is that of the batch.
        still: Random numbers that stay as drawn, such as the shapes of snowflakes; first axes are that of the batch.
    """

    moving: tf.Tensor
    still: tuple[tf.Tensor, ...] = ()


class LatentAttack(Attack):
    """Raises a loss along its gradient with respect to the latent variables of a distortion.

    A subclass defines the start (`start`), the distorted images (`render`), the step (`step`) and the set that the
    variables stay in (`project`). The last point is the result, as published.

    Args:
        epsilon: Strength of the distortion, in the unit that the subclass names.
        steps: Number of steps.
        step_size: Length of a step of the variables, in their unit; Frank–Wolfe attacks do not use it.

    Raises:
        ValueError: If a number is negative or not finite.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016; code:
    ddkang/advex-uar, advex_uar/attacks.
    """

    unrolled_steps = 0

    def __init__(self, epsilon: float, steps: int, step_size: float = 0.0) -> None:
        check_numbers(epsilon=epsilon, steps=steps, step_size=step_size)
        super().__init__(epsilon, steps)
        self.step_size = step_size

    def begin(self, images: tf.Tensor, start: Latent) -> Latent:
        return start

    def advance(
        self, images: tf.Tensor, loss: Loss, state: Latent, number: tf.Tensor | int
    ) -> tuple[Latent, tf.Tensor]:
        values, gradient = self.gradient(
            lambda moving: loss(self.render(images, Latent(moving, state.still))), state.moving
        )
        stepped = self.step(state.moving, gradient, number, images)
        value = tf.reduce_mean(tf.cast(values, images.dtype))  # a model in mixed precision may return float16
        return state._replace(moving=self.project(Latent(stepped, state.still))), value

    def finish(self, images: tf.Tensor, state: Latent) -> tf.Tensor:
        return self.render(images, state)

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Latent:
        """Draws the latent variables of a distortion; the arguments are those of `Attack.start`."""
        raise NotImplementedError

    def render(self, images: tf.Tensor, latent: Latent) -> tf.Tensor:
        """Returns the distorted images, in [0, 1]."""
        raise NotImplementedError

    def step(self, moving: tf.Tensor, gradient: tf.Tensor, number: tf.Tensor | int, images: tf.Tensor) -> tf.Tensor:
        """Returns the variables after one step that raises the loss: by default along the sign of the gradient.

        Args:
            moving: The variables.
            gradient: Gradient of the loss, of their shape.
            number: Number of this step, from 0.
            images: Images that are attacked.
        """
        return moving + self.step_size * tf.sign(gradient)

    def project(self, latent: Latent) -> tf.Tensor:
        """Returns the nearest variables that are allowed: by default those of absolute value `epsilon` at most."""
        return tf.clip_by_value(latent.moving, -self.epsilon, self.epsilon)


def convolved(fields: tf.Tensor, kernels: tf.Tensor) -> tf.Tensor:
    """Convolves each image with its own kernel, with zeros beyond the borders.

    Args:
        fields: Images or other fields, of shape `(batch, height, width, channels)`.
        kernels: Kernels, one for each image and channel, of shape `(batch, rows, columns, channels)`, with odd numbers
            of rows and columns. They are not flipped.

    Returns:
        Tensor of the shape of `fields`.
    """
    batch, height, width, channels = tf.unstack(tf.shape(fields))
    rows, columns = kernels.shape[1:3]
    # Images become channels, each of which a depthwise convolution convolves with its own kernel.
    together = tf.reshape(tf.transpose(fields, [1, 2, 0, 3]), [1, height, width, -1])
    filters = tf.reshape(tf.transpose(kernels, [1, 2, 0, 3]), [rows, columns, -1, 1])
    found = tf.nn.depthwise_conv2d(together, filters, [1, 1, 1, 1], "SAME")
    return tf.transpose(tf.reshape(found, [height, width, batch, channels]), [2, 0, 1, 3])
