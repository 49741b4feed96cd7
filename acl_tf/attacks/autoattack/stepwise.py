"""Attacks that proceed step by step, each image independently of the others, as re-batching needs them."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from acl_tf.attacks.base import check_numbers

# Values that an attack carries from step to step: tensors with one row per image.
State = dict[str, tf.Tensor]
# From images in [0, 1] and the number of a draw to logits; draws differ only if the model is stochastic.
Predict = Callable[[tf.Tensor, tf.Tensor | int], tf.Tensor]
# From logits, labels and targets to one loss per image, which the attack raises.
AttackLoss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


class Attacked(NamedTuple):
    """Images under attack.

    Attributes:
        images: Images in [0, 1], float32 of shape `(batch, height, width, channels)`.
        labels: Labels, int32 of shape `(batch,)`.
        targets: Target classes of targeted attacks, int32 of shape `(batch,)`.
        restarts: Number of this restart, from 0, among the runs on this image and target, int32 of shape `(batch,)`.
        seeds: Seeds of all random numbers, int32 of shape `(batch, 2)`.
    """

    images: tf.Tensor
    labels: tf.Tensor
    targets: tf.Tensor
    restarts: tf.Tensor
    seeds: tf.Tensor


class Step(NamedTuple):
    """The result of a step.

    Attributes:
        state: State for the next step.
        candidates: Images that the model was evaluated on; where `found`, they lie in the ball and in [0, 1].
        found: Whether the candidate lies in the ball and the model gets it wrong, boolean of shape `(batch,)`.
    """

    state: State
    candidates: tf.Tensor
    found: tf.Tensor


class StepwiseAttack:
    """Searches the ball around each image for one that the model gets wrong, in a fixed number of steps.

    What happens to an image depends only on the image, its label, target, restart and seed: not on the others of its
    batch, nor on how many steps these have taken. So images that are done can make room for others at any time.

    A subclass defines the start (`start`) and the step (`step`).

    Args:
        epsilon: Radius of the ball, in pixels of [0, 1].
        steps: Number of steps after which the attack on an image has failed.

    Raises:
        ValueError: If `epsilon` is negative or not finite, or there are no steps.
    """

    #: Smallest number of steps between two checks of which images are done.
    least_steps_per_call = 10
    #: Number of draws of a stochastic model that a step averages over.
    draws = 1

    def __init__(self, epsilon: float, steps: int) -> None:
        check_numbers(epsilon=epsilon, steps=steps)
        if steps < 1:
            raise ValueError(f"`steps` must be positive. Received: steps={steps}")
        self.epsilon = epsilon
        self.steps = steps
        least = self.least_steps_per_call
        # Of the numbers from `least` to twice that, the one that divides `steps` best: steps beyond it are wasted.
        self.steps_per_call = min(range(least, 2 * least + 1), key=lambda count: (-steps % count, count))

    def start(self, attacked: Attacked) -> State:
        """Returns the state before the first step."""
        raise NotImplementedError

    def step(self, predict: Predict, attacked: Attacked, state: State, number: tf.Tensor) -> Step:
        """Takes a step.

        Args:
            predict: The model.
            attacked: Images under attack, the same at every step.
            state: State after the previous step.
            number: Number of this step, from 0, for each image: int32 of shape `(batch,)`.
        """
        raise NotImplementedError


def value_and_gradient(
    predict: Predict, loss: AttackLoss, attacked: Attacked, images: tf.Tensor, draws: int = 1
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns logits, losses and gradients of the losses with respect to the images.

    Args:
        predict: The model.
        loss: Loss that is differentiated.
        attacked: Images under attack, of which labels and targets are used.
        images: Images at which to differentiate, of shape `(batch, height, width, channels)`.
        draws: Number of gradients that are averaged (EOT); logits and losses are those of the last draw, as published.
    """

    def at(draw: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = predict(images, draw)
            values = loss(logits, attacked.labels, attacked.targets)
        return logits, values, tape.gradient(values, images)

    if draws == 1:
        return at(0)
    logits, values, gradient = at(0)

    def again(draw: tf.Tensor, _: tf.Tensor, __: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, ...]:
        logits, values, gradient = at(draw)
        return draw + 1, logits, values, total + gradient

    _, logits, values, total = tf.while_loop(
        lambda draw, *_: draw < draws, again, (tf.constant(1), logits, values, gradient)
    )
    return logits, values, total / draws


def each(condition: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns a tensor of shape `(batch,)` with axes of length 1 added, so that it broadcasts over rows of `values`."""
    return tf.reshape(condition, [-1, *[1] * (values.shape.rank - 1)])


def choose(condition: tf.Tensor, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Returns the rows of `one` where the condition, of shape `(batch,)`, holds, and those of `other` elsewhere."""
    return tf.where(each(condition, one), one, other)


def is_wrong(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns which images are not classified as their label, boolean of shape `(batch,)`; logits of NaN are wrong."""
    broken = tf.reduce_any(tf.math.is_nan(logits), axis=-1)
    return broken | (tf.argmax(logits, axis=-1, output_type=tf.int32) != labels)
