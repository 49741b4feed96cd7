"""The loop of attacks that do not move pixels, but what a distortion is drawn from."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from acl_tf.attacks.base import AttackResult, Loss, checked


class Latent(NamedTuple):
    """What the distortion of each image is drawn from.

    Attributes:
        moving: What the attack climbs by: one tensor, its first axis that of the batch.
        still: Random numbers that it leaves alone, such as the shapes of snowflakes; first axes as that.
    """

    moving: tf.Tensor
    still: tuple[tf.Tensor, ...] = ()


class LatentAttack:
    """Climbs a loss by its gradient with respect to the latent variables of a distortion.

    A subclass says where to start (`start`), what the distorted images are (`render`), how to step (`step`) and what
    the variables' set is (`project`). The last point is the result, as published.

    Args:
        epsilon: Strength of the distortion, in the unit that the subclass names.
        steps: Number of steps.
        step_size: Length of a step of the variables, in their unit; what Frank–Wolfe steps do not have.

    Raises:
        ValueError: If a number is negative or not finite.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016; code:
    ddkang/advex-uar, advex_uar/attacks.
    """

    def __init__(self, epsilon: float, steps: int, step_size: float = 0.0) -> None:
        for name, value in {"epsilon": epsilon, "steps": steps, "step_size": step_size}.items():
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"`{name}` must be finite and not negative. Received: {name}={value}")
        self.epsilon = epsilon
        self.steps = steps
        self.step_size = step_size

    def __call__(self, images: tf.Tensor, loss: Loss, latent: Latent) -> AttackResult:
        """Attacks a batch.

        Args:
            images: Images in [0, 1], of shape `(batch, height, width, channels)`, floating point. The batch alone may
                be unknown in a graph.
            loss: From images to one loss per example.
            latent: Where to start; `start` draws one.

        Returns:
            The adversarial images, in [0, 1], and the losses on the way: the first is that of the start.

        Raises:
            ValueError: If images are not floating point, not in [0, 1], or of a size that the distortion cannot have.
                In a graph values out of range are a `tf.errors.InvalidArgumentError` when the graph runs.
        """
        images = checked(images)

        def body(number: tf.Tensor, moving: tf.Tensor, trace: tf.TensorArray) -> tuple:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(moving)
                values = loss(self.render(images, Latent(moving, latent.still)))
            stepped = self.step(moving, tape.gradient(values, moving), number, images)
            value = tf.reduce_mean(tf.cast(values, images.dtype))  # a model in mixed precision may give halves
            moved = self.project(Latent(stepped, latent.still))
            return number + 1, tf.ensure_shape(moved, latent.moving.shape), trace.write(number, value)

        trace = tf.TensorArray(images.dtype, size=self.steps, element_shape=[])
        start = (tf.constant(0), latent.moving, trace)
        _, moving, trace = tf.while_loop(lambda number, *_: number < self.steps, body, start)
        return AttackResult(self.render(images, Latent(moving, latent.still)), trace.stack())

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Latent:
        """Draws the latent variables of a distortion.

        Args:
            shape: Of the images.
            seed: An int32 tensor of shape `(2,)`.
            dtype: Of the images.
        """
        raise NotImplementedError

    def render(self, images: tf.Tensor, latent: Latent) -> tf.Tensor:
        """Returns the distorted images, in [0, 1]."""
        raise NotImplementedError

    def step(self, moving: tf.Tensor, gradient: tf.Tensor, number: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        """Returns the variables one step further up: here along the sign of the gradient.

        Args:
            moving: The variables.
            gradient: Of the loss, and of their shape.
            number: Of the step, from 0.
            images: That are attacked.
        """
        return moving + self.step_size * tf.sign(gradient)

    def project(self, latent: Latent) -> tf.Tensor:
        """Returns the nearest variables that the distortion may have: here those of size `epsilon` at most."""
        return tf.clip_by_value(latent.moving, -self.epsilon, self.epsilon)


def convolved(fields: tf.Tensor, kernels: tf.Tensor) -> tf.Tensor:
    """Convolves each image with a kernel of its own; beyond its borders there are zeros.

    Args:
        fields: Shape `(batch, height, width, channels)`.
        kernels: One for each image and channel: shape `(batch, rows, columns, channels)`, with odd numbers of rows
            and columns. They are not flipped.

    Returns:
        Tensor of the shape of `fields`.
    """
    batch, height, width, channels = tf.unstack(tf.shape(fields))
    rows, columns = kernels.shape[1:3]
    # Images become channels, each of which a depthwise convolution treats by a kernel of its own.
    together = tf.reshape(tf.transpose(fields, [1, 2, 0, 3]), [1, height, width, -1])
    filters = tf.reshape(tf.transpose(kernels, [1, 2, 0, 3]), [rows, columns, -1, 1])
    found = tf.nn.depthwise_conv2d(together, filters, [1, 1, 1, 1], "SAME")
    return tf.transpose(tf.reshape(found, [height, width, batch, channels]), [2, 0, 1, 3])
