"""The loop of every gradient attack, with hooks for start, step and projection."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

# Longer attacks become a loop of the graph, so that tracing does not take minutes.
UNROLLED_STEPS = 5

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

    A subclass says where to start (`start`), how to step (`step`) and what the ball is (`project`).

    Args:
        epsilon: Radius of the ball, in pixels of [0, 1].
        step_size: Length of a step, in the same unit and norm.
        steps: Number of steps.
        momentum: Share of the previous direction in the next one; 0: each step follows its own gradient alone.

    Raises:
        ValueError: If a number is negative or not finite.

    Reference: Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, Eq. 6 (the momentum).
    """

    def __init__(self, epsilon: float, step_size: float, steps: int, momentum: float = 0.0) -> None:
        numbers = {"epsilon": epsilon, "step_size": step_size, "steps": steps, "momentum": momentum}
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise ValueError(f"`{name}` must be finite. Received: {name}={value}")
            if value < 0:
                raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
        self.epsilon = epsilon
        self.step_size = step_size
        self.steps = steps
        self.momentum = momentum

    def __call__(
        self, images: tf.Tensor, loss: Loss, perturbation: tf.Tensor, unrolled: bool | None = None
    ) -> AttackResult:
        """Attacks a batch.

        Args:
            images: Images in [0, 1], of shape `(batch, height, width, channels)`, floating point.
            loss: From images to one loss per example.
            perturbation: Where to start, relative to `images` and of their shape; `start` draws one.
            unrolled: Whether every step is a part of the graph of its own, instead of one loop; None: up to 5 steps
                are. It must be so where the loss asks other replicas of `tf.distribute`, which no loop can.

        Returns:
            The adversarial images and the losses on the way.

        Raises:
            ValueError: If images are not floating point, or not in [0, 1]. In a graph it is a
                `tf.errors.InvalidArgumentError` when the graph runs; XLA does not check.
        """
        images = checked(images)
        adversarial = images + perturbation  # may leave [0, 1] until the first step, as published
        direction = tf.zeros_like(images)
        if unrolled or (unrolled is None and self.steps <= UNROLLED_STEPS):
            losses = []
            for _ in range(self.steps):
                adversarial, direction, value = self.advance(loss, adversarial, direction, images)
                losses.append(value)
            trace = tf.stack(losses) if losses else tf.zeros([0], images.dtype)
        else:
            adversarial, trace = self._rolled(loss, adversarial, direction, images)
        return AttackResult(self.project(adversarial, images), trace)

    def advance(
        self, loss: Loss, adversarial: tf.Tensor, direction: tf.Tensor, images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the images one step on, the direction of the step, and the mean loss before it."""
        values, gradient = self.gradient(loss, adversarial)
        direction = self.accumulate(direction, gradient)
        value = tf.reduce_mean(tf.cast(values, images.dtype))  # a model in mixed precision may give halves
        return self.project(self.step(adversarial, direction), images), direction, value

    def _rolled(
        self, loss: Loss, adversarial: tf.Tensor, direction: tf.Tensor, images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes all steps in a loop of the graph, which is traced in the time of one step."""

        def body(step: tf.Tensor, adversarial: tf.Tensor, direction: tf.Tensor, trace: tf.TensorArray) -> tuple:
            adversarial, direction, value = self.advance(loss, adversarial, direction, images)
            adversarial = tf.ensure_shape(adversarial, images.shape)
            return step + 1, adversarial, tf.ensure_shape(direction, images.shape), trace.write(step, value)

        trace = tf.TensorArray(images.dtype, size=self.steps, element_shape=[])
        start = (tf.constant(0), tf.ensure_shape(adversarial, images.shape), direction, trace)
        _, adversarial, _, trace = tf.while_loop(lambda step, *_: step < self.steps, body, start)
        return adversarial, trace.stack()

    def gradient(self, loss: Loss, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the losses and the gradient of their sum with respect to the images alone."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            values = loss(images)
        return values, tape.gradient(values, images)

    def accumulate(self, direction: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the next direction: the gradient, or with momentum the running sum of normalised gradients."""
        if self.momentum == 0:
            return gradient
        # The paper divides by the sum; no step depends on the length of the direction.
        size = tf.reduce_mean(tf.abs(gradient), axis=(1, 2, 3), keepdims=True)
        return self.momentum * direction + tf.math.divide_no_nan(gradient, size)

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Draws a perturbation inside the ball; `seed` is an int32 tensor of shape `(2,)`."""
        raise NotImplementedError

    def step(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the images one step further up."""
        raise NotImplementedError

    def project(self, images: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
        """Returns images near the given ones that lie in the ball around `center` and in [0, 1]."""
        raise NotImplementedError


def checked(images: tf.Tensor) -> tf.Tensor:
    """Returns images as a tensor, having checked that they are floating point and in [0, 1]."""
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise ValueError(f"Images must be floating point, in [0, 1]. Received: images.dtype={images.dtype.name}")
    low, high = tf.reduce_min(images), tf.reduce_max(images)
    inside = (low >= 0) & (high <= 1)  # false where there is a NaN
    message = "Images must lie in [0, 1]. Received: values from"
    if tf.is_symbolic_tensor(images):
        # `tf.debugging.Assert` would wrap this in a `tf.cond`.
        tf.raw_ops.Assert(condition=inside, data=[message, low, "to", high])
    elif not inside:
        raise ValueError(f"{message} {float(low)} to {float(high)}")
    return images
