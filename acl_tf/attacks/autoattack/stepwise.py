"""Attacks that go step by step, each image by itself: what re-batching needs."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from acl_tf.attacks.base import check_numbers

# What an attack carries from step to step: tensors with one row an image.
State = dict[str, tf.Tensor]
# From images in [0, 1] and the number of a draw to logits; draws differ only where the model is stochastic.
Predict = Callable[[tf.Tensor, tf.Tensor | int], tf.Tensor]
# From logits, labels and targets to one loss per image, which the attack raises.
AttackLoss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


class Attacked(NamedTuple):
    """Images under attack.

    Attributes:
        images: In [0, 1], float32 of shape `(batch, height, width, channels)`.
        labels: int32, of shape `(batch,)`.
        targets: int32, of shape `(batch,)`: the classes that targeted attacks drive to.
        restarts: int32, of shape `(batch,)`: the how-manieth run on the image, and with the same target, this is.
        seeds: int32, of shape `(batch, 2)`: of all random numbers.
    """

    images: tf.Tensor
    labels: tf.Tensor
    targets: tf.Tensor
    restarts: tf.Tensor
    seeds: tf.Tensor


class Step(NamedTuple):
    """What a step comes to.

    Attributes:
        state: For the next step.
        candidates: Images that the model looked at, in the ball and in [0, 1] where they are found.
        found: Whether the model gets them wrong, boolean of shape `(batch,)`.
    """

    state: State
    candidates: tf.Tensor
    found: tf.Tensor


class StepwiseAttack:
    """Looks for an image in the ball that the model gets wrong, a fixed number of steps for each image.

    What happens to an image depends on nothing but the image, its label, target, restart and seed: not on the others of
    its batch, nor on how many steps these have behind them. So images that are done can make room for others at any
    time.

    A subclass says where to start (`start`) and what a step is (`step`).

    Args:
        epsilon: Radius of the ball, in pixels of [0, 1].
        steps: After so many, an image has withstood.

    Raises:
        ValueError: If `epsilon` is negative or not finite, or there are no steps.
    """

    #: At least so many steps are taken between two looks at which images are done.
    least_steps_per_call = 10
    #: How many draws of a stochastic model a step averages over.
    draws = 1

    def __init__(self, epsilon: float, steps: int) -> None:
        check_numbers(epsilon=epsilon, steps=steps)
        if steps < 1:
            raise ValueError(f"`steps` must be positive. Received: steps={steps}")
        self.epsilon = epsilon
        self.steps = steps
        least = self.least_steps_per_call
        # Of what is about as short, what divides the steps best: those beyond the last are taken in vain.
        self.steps_per_call = min(range(least, 2 * least + 1), key=lambda count: (-steps % count, count))

    def start(self, attacked: Attacked) -> State:
        """Returns the state before the first step."""
        raise NotImplementedError

    def step(self, predict: Predict, attacked: Attacked, state: State, number: tf.Tensor) -> Step:
        """Takes a step.

        Args:
            predict: The model.
            attacked: As at the start.
            state: Of the step before.
            number: int32, of shape `(batch,)`: the how-manieth step this is, from 0, for each image.
        """
        raise NotImplementedError


def value_and_gradient(
    predict: Predict, loss: AttackLoss, attacked: Attacked, images: tf.Tensor, draws: int = 1
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns logits, losses and gradients of the losses with respect to the images.

    Args:
        predict: The model.
        loss: That is differentiated.
        attacked: Labels and targets.
        images: Where, of shape `(batch, height, width, channels)`.
        draws: How many gradients are averaged (EOT); logits and losses are those of the last draw, as published.
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
    """Returns a condition of shape `(batch,)` with as many axes as the values have, to choose among their rows."""
    return tf.reshape(condition, [-1, *[1] * (values.shape.rank - 1)])


def choose(condition: tf.Tensor, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Returns the rows of `one` where the condition, of shape `(batch,)`, holds, and else those of `other`."""
    return tf.where(each(condition, one), one, other)


def is_wrong(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns which images are not classified as their label, boolean of shape `(batch,)`; logits of NaN are wrong."""
    broken = tf.reduce_any(tf.math.is_nan(logits), axis=-1)
    return broken | (tf.argmax(logits, axis=-1, output_type=tf.int32) != labels)
