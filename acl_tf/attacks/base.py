"""The base of all attacks: the loop that raises a loss step by step, with hooks for subclasses."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from acl_tf.config import Section

# Attacks with more steps become a loop in the graph, so that tracing does not take minutes.
UNROLLED_STEPS = 5

# From images in [0, 1], of shape `(batch, height, width, channels)`, to one loss per example, which the attack raises.
Loss = Callable[[tf.Tensor], tf.Tensor]
# Values that an attack carries from step to step: tensors whose first axis is that of the batch.
State = Any


class AttackResult(NamedTuple):
    """The result of an attack.

    Attributes:
        images: Adversarial images in [0, 1], of the shape of the attacked ones.
        losses: Mean loss of the batch at each point where the attack took a gradient, of shape `(steps,)`. The first
            is the loss at the start.
    """

    images: tf.Tensor
    losses: tf.Tensor


class Attack:
    """Raises a loss of images along its gradient, in a fixed number of steps.

    A subclass defines how a start is drawn (`start`), how it becomes the first point (`begin`), how one point leads to
    the next (`advance`), and how the last point becomes images (`finish`). An attack of the registry `ATTACKS` also
    declares its `Settings`: `ATTACKS[name](**settings)` builds it.

    Args:
        epsilon: Strength of the attack, in the unit that the subclass names.
        steps: Number of steps.

    Raises:
        ValueError: If a number is negative or not finite.
    """

    class Settings(Section):
        """The arguments of the constructor that a configuration can set, by their names."""

    #: Largest number of steps that are unrolled in the graph if the caller does not say.
    unrolled_steps: ClassVar[int] = UNROLLED_STEPS
    #: Settings of the evaluation that the attack's name fixes, with their values: `{"restarts": 1}`.
    fixed: ClassVar[dict[str, Any]] = {}
    #: Norm of the ball that the images stay in: `linf`, `l2` or `l1`; None: there is no ball.
    norm: str | None = None
    #: Length of a step, in the norm of the ball or the unit of the variables; 0: steps have no fixed length.
    step_size = 0.0
    #: Number of evaluations of the loss whose gradients are averaged; see `acl_tf.attacks.eot`.
    draws = 1

    def __init__(self, epsilon: float, steps: int) -> None:
        check_numbers(epsilon=epsilon, steps=steps)
        self.epsilon = epsilon
        self.steps = steps

    def __call__(self, images: tf.Tensor, loss: Loss, start: Any, unrolled: bool | None = None) -> AttackResult:
        """Attacks a batch.

        Args:
            images: Images in [0, 1], of shape `(batch, height, width, channels)`, floating point.
            loss: Function from images to one loss per example.
            start: Start of the attack, as the method `start` draws it.
            unrolled: Whether the steps are unrolled in the graph instead of forming a loop; None: if there are at most
                `unrolled_steps`. A loss that communicates with other replicas of `tf.distribute` needs it, because
                collectives do not work inside a loop.

        Returns:
            The adversarial images, and the loss at each step.

        Raises:
            ValueError: If images are not floating point, or not in [0, 1]. In a graph it is a
                `tf.errors.InvalidArgumentError` when the graph runs; XLA does not check.
        """
        images = checked(images)
        state = self.begin(images, start)
        if unrolled or (unrolled is None and self.steps <= self.unrolled_steps):
            losses = []
            for number in range(self.steps):
                state, value = self.advance(images, loss, state, number)
                losses.append(value)
            trace = tf.stack(losses) if losses else tf.zeros([0], images.dtype)
        else:
            state, trace = self._rolled(images, loss, state)
        return AttackResult(self.finish(images, state), trace)

    def _rolled(self, images: tf.Tensor, loss: Loss, state: State) -> tuple[State, tf.Tensor]:
        """Takes all steps in a loop of the graph, so that tracing takes no longer than for one step."""

        def body(number: tf.Tensor, state: State, trace: tf.TensorArray) -> tuple:
            following, value = self.advance(images, loss, state, number)
            following = tf.nest.map_structure(lambda new, old: tf.ensure_shape(new, old.shape), following, state)
            return number + 1, following, trace.write(number, value)

        trace = tf.TensorArray(images.dtype, size=self.steps, element_shape=[])
        _, state, trace = tf.while_loop(lambda number, *_: number < self.steps, body, (tf.constant(0), state, trace))
        return state, trace.stack()

    def gradient(self, loss: Loss, point: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the losses and the gradient of their sum with respect to `point`; weights get no gradients."""
        if self.draws == 1:
            return _gradient(loss, point)
        # Unrolled, like the steps: every draw gets its own random operations in the graph.
        values, gradients = zip(*(_gradient(loss, point) for _ in range(self.draws)))
        return tf.add_n(values) / self.draws, tf.add_n(gradients) / self.draws

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Any:
        """Draws a start of the attack.

        Args:
            shape: Shape of the images.
            seed: An int32 tensor of shape `(2,)`.
            dtype: Type of the images.
        """
        raise NotImplementedError

    def begin(self, images: tf.Tensor, start: Any) -> State:
        """Returns the first point."""
        raise NotImplementedError

    def advance(self, images: tf.Tensor, loss: Loss, state: State, number: tf.Tensor | int) -> tuple[State, tf.Tensor]:
        """Returns the next point, and the mean loss at the current one.

        Args:
            images: Images that are attacked.
            loss: Function from images to one loss per example.
            state: Current point, and whatever else the attack remembers.
            number: Number of this step, from 0.
        """
        raise NotImplementedError

    def finish(self, images: tf.Tensor, state: State) -> tf.Tensor:
        """Returns the adversarial images of the last point."""
        raise NotImplementedError


class GradientAttack(Attack):
    """Moves the pixels along their gradient, inside a ball around the images and inside [0, 1].

    A subclass defines the start (`start`), the step (`step`) and the ball (`project`).

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
        check_numbers(epsilon=epsilon, step_size=step_size, steps=steps, momentum=momentum)
        super().__init__(epsilon, steps)
        self.step_size = step_size
        self.momentum = momentum

    def begin(self, images: tf.Tensor, start: tf.Tensor) -> State:
        adversarial = images + start  # may lie outside [0, 1] until the first step, as published
        return tf.ensure_shape(adversarial, images.shape), tf.zeros_like(images)

    def advance(self, images: tf.Tensor, loss: Loss, state: State, number: tf.Tensor | int) -> tuple[State, tf.Tensor]:
        adversarial, direction = state
        values, gradient = self.gradient(loss, adversarial)
        direction = self.accumulate(direction, gradient)
        value = tf.reduce_mean(tf.cast(values, images.dtype))  # a model in mixed precision may return float16
        return (self.project(self.step(adversarial, direction), images), direction), value

    def finish(self, images: tf.Tensor, state: State) -> tf.Tensor:
        return self.project(state[0], images)

    def accumulate(self, direction: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the next direction: the gradient or, with momentum, a decaying sum of normalised gradients."""
        if self.momentum == 0:
            return gradient
        # The paper divides by the sum instead of the mean, but no step depends on the length of the direction.
        size = tf.reduce_mean(tf.abs(gradient), axis=(1, 2, 3), keepdims=True)
        return self.momentum * direction + tf.math.divide_no_nan(gradient, size)

    def step(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the images after one step that raises the loss."""
        raise NotImplementedError

    def project(self, images: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
        """Returns images projected onto the ball around `center` and onto [0, 1]."""
        raise NotImplementedError


def check_numbers(**numbers: float) -> None:
    """Raises `ValueError` if a number of an attack is negative or not finite."""
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"`{name}` must be finite. Received: {name}={value}")
        if value < 0:
            raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")


def checked(images: tf.Tensor) -> tf.Tensor:
    """Returns images as a tensor, after checking that they are floating point and in [0, 1]."""
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise ValueError(f"Images must be floating point, in [0, 1]. Received: images.dtype={images.dtype.name}")
    low, high = tf.reduce_min(images), tf.reduce_max(images)
    inside = (low >= 0) & (high <= 1)  # false if there is a NaN
    message = "Images must lie in [0, 1]. Received: values from"
    if tf.is_symbolic_tensor(images):
        # Not `tf.debugging.Assert`, which would wrap this in a `tf.cond`.
        tf.raw_ops.Assert(condition=inside, data=[message, low, "to", high])
    elif not inside:
        raise ValueError(f"{message} {float(low)} to {float(high)}")
    return images


def _gradient(loss: Loss, point: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(point)
        values = loss(point)
    return values, tape.gradient(values, point)
