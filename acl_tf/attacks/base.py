"""The loop of every gradient attack, with hooks for start, step and projection."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

# From images in [0, 1], of shape `(batch, height, width, channels)`, to one loss per example, which the attack raises.
Loss = Callable[[tf.Tensor], tf.Tensor]


class AttackResult(NamedTuple):
    """What an attack found.

    Attributes:
        images: Adversarial images in [0, 1], of the shape of the attacked ones.
        losses: The loss, averaged over the examples, at each point where the attack took a gradient: shape `(steps,)`.
            The first is that of the start.
    """

    images: tf.Tensor
    losses: tf.Tensor


class GradientAttack:
    """Climbs a loss by its gradient with respect to the images, staying in a ball around them and in [0, 1].

    A subclass says where to start (`start`), how to step (`step`) and what the ball is (`project`). The loop is
    unrolled in Python: collectives inside a `tf.while_loop` fail under `tf.distribute`.

    Args:
        epsilon: Radius of the ball, in pixels of [0, 1].
        step_size: Length of a step, in the same unit and norm.
        steps: Number of steps.

    Raises:
        ValueError: If a number is negative.
    """

    def __init__(self, epsilon: float, step_size: float, steps: int) -> None:
        for name, value in (("epsilon", epsilon), ("step_size", step_size), ("steps", steps)):
            if value < 0:
                raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
        self.epsilon = epsilon
        self.step_size = step_size
        self.steps = steps

    def __call__(self, images: tf.Tensor, loss: Loss, perturbation: tf.Tensor) -> AttackResult:
        """Attacks a batch.

        Args:
            images: Images in [0, 1], of shape `(batch, height, width, channels)`, floating point.
            loss: From images to one loss per example.
            perturbation: Where to start, relative to `images` and of their shape; `start` draws one.

        Returns:
            The adversarial images and the losses on the way.
        """
        adversarial, losses = images + perturbation, []  # may leave [0, 1] until the first step, as published
        for _ in range(self.steps):
            values, gradient = self.gradient(loss, adversarial)
            losses.append(tf.reduce_mean(values))
            adversarial = self.project(self.step(adversarial, gradient), images)
        trace = tf.stack(losses) if losses else tf.zeros([0], images.dtype)
        return AttackResult(self.project(adversarial, images), trace)

    def gradient(self, loss: Loss, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the losses and the gradient of their sum with respect to the images alone."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            values = loss(images)
        return values, tape.gradient(values, images)

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Draws a perturbation inside the ball; `seed` is an int32 tensor of shape `(2,)`."""
        raise NotImplementedError

    def step(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the images one step further up."""
        raise NotImplementedError

    def project(self, images: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
        """Returns the nearest images that lie in the ball around `center` and in [0, 1]."""
        raise NotImplementedError
