"""APGD: projected gradient descent that chooses its step sizes itself."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from acl_tf.attacks.autoattack.stepwise import (
    Attacked,
    AttackLoss,
    Predict,
    State,
    Step,
    StepwiseAttack,
    choose,
    each,
    is_wrong,
    value_and_gradient,
)
from acl_tf.attacks.balls import L1, L2, PIXELS, Ball, Linf
from acl_tf.attacks.l1_ball import project_l1_in_box
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.dlr import dlr
from acl_tf.losses.targeted_dlr import targeted_dlr
from acl_tf.randomness import draw_each

LOSSES: dict[str, AttackLoss] = {
    "cross_entropy": lambda logits, labels, targets: cross_entropy(logits, labels),
    "dlr": lambda logits, labels, targets: dlr(logits, labels),
    "targeted_dlr": targeted_dlr,
}


class Phase(NamedTuple):
    """Steps in a ball of one radius.

    Attributes:
        epsilon: The radius.
        steps: Number of steps; the phase evaluates the model once more, at the point where it begins.
    """

    epsilon: float
    steps: int


class Schedule(NamedTuple):
    """The schedule of the attack: arrays with one entry per evaluation of the model.

    Attributes:
        epsilon: Radius of the phase.
        first: Whether the evaluation is the first of its phase.
        last: Whether it is the last of its phase.
        final: Whether it belongs to the last phase, the only one whose images lie in the ball of the attack.
        window: Number of steps since the previous checkpoint, where this evaluation is a checkpoint; else 0.
    """

    epsilon: np.ndarray
    first: np.ndarray
    last: np.ndarray
    final: np.ndarray
    window: np.ndarray

    def at(self, number: tf.Tensor) -> "Schedule":
        """Returns the entries of the evaluations numbered `number`, as tensors of its shape."""
        return Schedule(*(tf.gather(tf.constant(column), tf.minimum(number, len(column) - 1)) for column in self))


class APGD(StepwiseAttack):
    """Takes gradient steps with momentum; where progress stalls, halves the step and returns to the best point so far.

    Progress is checked at checkpoints that become more frequent: the first comes after 22 % of the steps, and each
    interval is 3 % of the steps shorter than the one before, down to 6 %. Progress has stalled if the loss rose in no
    more than three quarters of the steps since the last checkpoint, or if neither the step size nor the best loss has
    changed since then.

    Each subclass defines the ball.

    Args:
        epsilon: Radius of the ball, in pixels of [0, 1].
        loss: `cross_entropy` (APGD-CE), `dlr` (APGD-DLR) or `targeted_dlr` (APGD-T).
        steps: Number of steps.
        draws: Number of gradients of a stochastic model that are averaged at every step (EOT).
        phases: Phases of the attack, the early ones in larger balls; None: one phase, in the ball of `epsilon`.

    Reference: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks", ICML 2020, section 3 and Algorithm 1.
    """

    ball: Ball
    #: Share of steps that raised the loss at or below which a checkpoint halves the step size.
    rho = 0.75

    def __init__(
        self,
        epsilon: float,
        loss: str = "cross_entropy",
        steps: int = 100,
        draws: int = 1,
        phases: Sequence[Phase] | None = None,
    ) -> None:
        phases = phases or [Phase(epsilon, steps)]
        super().__init__(epsilon, sum(phase.steps + 1 for phase in phases))
        if draws < 1:
            raise ValueError(f"`draws` must be positive. Received: draws={draws}")
        if loss not in LOSSES:
            raise ValueError(f"`loss` must be one of {', '.join(LOSSES)}. Received: loss={loss!r}")
        self.loss = loss
        self.draws = draws
        self.phases = phases
        self.schedule = self.make_schedule()

    def make_schedule(self) -> Schedule:
        """Returns the schedule of all phases, one after the other."""
        columns: list[list] = [[], [], [], [], []]
        for phase in self.phases:
            looks = phase.steps + 1
            columns[0] += [np.float32(phase.epsilon)] * looks
            columns[1] += [look == 0 for look in range(looks)]
            columns[2] += [look == phase.steps for look in range(looks)]
            columns[3] += [phase is self.phases[-1]] * looks
            columns[4] += self.windows(phase.steps)
        return Schedule(*map(np.array, columns))

    def windows(self, steps: int) -> list[int]:
        """Returns for each evaluation the length of the window that ends there, or 0 if none does."""
        length, shortest = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1)
        windows, begin = [0] * (steps + 1), 0
        while begin + length <= steps:
            begin += length
            windows[begin] = length
            length = max(length - max(int(0.03 * steps), 1), shortest)
        return windows

    def start(self, attacked: Attacked) -> State:
        images = attacked.images
        ones = tf.ones_like(attacked.labels, tf.float32)
        begin = tf.clip_by_value(images + self.noise(attacked), 0.0, 1.0)
        return {
            "images": begin,
            "previous": begin,
            "best": begin,
            "gradient": tf.zeros_like(images),
            "loss": ones,
            "best_loss": ones,
            "step_size": ones,
            **self.adaptation(attacked),
        }

    def step(self, predict: Predict, attacked: Attacked, state: State, number: tf.Tensor) -> Step:
        now = self.schedule.at(number)
        images = state["images"]
        logits, loss, gradient = value_and_gradient(predict, LOSSES[self.loss], attacked, images, self.draws)
        found = is_wrong(logits, attacked.labels) & now.final
        better = now.first | (loss > state["best_loss"])
        state = {
            **state,
            "rose": loss > state["loss"],
            "loss": loss,
            "best": choose(better, images, state["best"]),
            "gradient": choose(better, gradient, state["gradient"]),  # at the best point
            "best_loss": tf.where(better, loss, state["best_loss"]),
        }
        state, back = self.adapt(attacked, state, now)
        base = choose(back, state["best"], images)
        further = self.ascend(attacked, state, now, base, choose(back, state["gradient"], gradient))
        further = choose(now.last, self.enter(attacked, state, number + 1), further)
        del state["rose"]
        return Step({**state, "images": further, "previous": base}, images, found)

    def noise(self, attacked: Attacked) -> tf.Tensor:
        """Draws the initial perturbations, on the surface of the ball."""
        shape = attacked.images.shape[1:]
        return self.ball.scaled(draw_each(attacked.seeds, lambda seed: self.ball.direction(shape, seed)), self.epsilon)

    def adaptation(self, attacked: Attacked) -> State:
        """Returns the entries of the initial state that only `adapt` uses."""
        ones = tf.ones_like(attacked.labels, tf.float32)
        return {"rises": ones, "checked_loss": ones, "reduced": tf.ones_like(attacked.labels, tf.bool)}

    def adapt(self, attacked: Attacked, state: State, now: Schedule) -> tuple[State, tf.Tensor]:
        """Adapts the step sizes at checkpoints, and returns which images go back to their best points."""
        rises = tf.where(now.first, 0.0, state["rises"] + tf.cast(state["rose"], tf.float32))
        checked_loss = tf.where(now.first, state["best_loss"], state["checked_loss"])
        reduced = now.first | state["reduced"]
        step_size = tf.where(now.first, 2 * now.epsilon, state["step_size"])
        at_checkpoint = now.window > 0
        oscillates = rises <= self.rho * tf.cast(now.window, tf.float32)
        stalls = at_checkpoint & (oscillates | (~reduced & (checked_loss >= state["best_loss"])))
        adapted = {
            "rises": tf.where(at_checkpoint, 0.0, rises),
            "checked_loss": tf.where(at_checkpoint, state["best_loss"], checked_loss),
            "reduced": tf.where(at_checkpoint, stalls, reduced),
            "step_size": tf.where(stalls, step_size / 2, step_size),
        }
        return {**state, **adapted}, stalls

    def ascend(
        self, attacked: Attacked, state: State, now: Schedule, base: tf.Tensor, gradient: tf.Tensor
    ) -> tf.Tensor:
        """Returns the images after one step: three quarters of the new step plus a quarter of the previous one."""
        size = each(state["step_size"], base)
        direct = self.ball.project(base + size * self.ball.ascent(base, gradient), attacked.images, self.epsilon)
        share = each(tf.where(now.first, 1.0, 0.75), base)
        moved = base + share * (direct - base) + (1 - share) * (base - state["previous"])
        return self.ball.project(moved, attacked.images, self.epsilon)

    def enter(self, attacked: Attacked, state: State, number: tf.Tensor) -> tf.Tensor:
        """Returns the first point of the phase that begins at `number`: the best point so far, in the phase's ball."""
        return state["best"]


class LinfAPGD(APGD):
    """APGD in the l∞ ball, along the sign of the gradient."""

    ball = Linf()


class L2APGD(APGD):
    """APGD in the l2 ball, along the gradient."""

    ball = L2()


class L1APGD(APGD):
    """APGD in the l1 ball, with sparse steps whose sparsity follows that of the best point so far.

    A step moves the pixels with the largest gradients, all by the same amount. After every 4 % of the steps, if the
    best point has become sparser by 5 %, the step size is reset to `epsilon` and the image to that point; otherwise
    the step size is divided by 1.5.

    The early phases can be in larger balls: see `L1APGD.phases_of`.

    Reference: Croce and Hein, "Mind the Box: l1-APGD for Sparse Adversarial Attacks on Image Classifiers", ICML 2021,
    Algorithm 1 and section 3.3.
    """

    ball = L1()
    #: Share of the pixels that move at first; divisor of the step size; `epsilon` divided by the smallest step size.
    share, divisor, smallest = 0.2, 1.5, 10.0

    @staticmethod
    def phases_of(epsilon: float, steps: int) -> list[Phase]:
        """Returns three phases: 30 % of the steps in a ball of 3 epsilon, 30 % in one of 2 epsilon, then epsilon."""
        early = math.ceil(0.3 * steps)
        return [Phase(3 * epsilon, early), Phase(2 * epsilon, early), Phase(epsilon, steps - 2 * early)]

    def windows(self, steps: int) -> list[int]:
        length = max(int(0.04 * steps), 1)
        return [length if look and look % length == 0 else 0 for look in range(steps + 1)]

    def noise(self, attacked: Attacked) -> tf.Tensor:
        shape = attacked.images.shape[1:]
        noise = draw_each(attacked.seeds, lambda seed: self.ball.direction(shape, seed))
        return project_l1_in_box(attacked.images, noise, self.phases[0].epsilon)

    def adaptation(self, attacked: Attacked) -> State:
        ones = tf.ones_like(attacked.labels, tf.float32)
        return {"moving": ones, "support": ones}

    def adapt(self, attacked: Attacked, state: State, now: Schedule) -> tuple[State, tf.Tensor]:
        pixels = float(np.prod(attacked.images.shape[1:]))
        support = tf.reduce_sum(tf.cast(state["best"] != attacked.images, tf.float32), PIXELS)
        # With one phase the start is dense noise, which says nothing about how sparse a good point is.
        dense = len(self.phases) == 1
        moving = tf.where(now.first, self.share if dense else support / pixels / self.divisor, state["moving"])
        known = tf.where(now.first, pixels if dense else support, state["support"])
        step_size = tf.where(now.first, now.epsilon, state["step_size"])
        at_checkpoint = now.window > 0
        sparser = support < 0.95 * known
        smaller = tf.maximum(step_size / self.divisor, now.epsilon / self.smallest)
        adapted = {
            "moving": tf.where(at_checkpoint, support / pixels / self.divisor, moving),
            "support": tf.where(at_checkpoint, support, known),
            "step_size": tf.where(at_checkpoint, tf.where(sparser, now.epsilon, smaller), step_size),
        }
        return {**state, **adapted}, at_checkpoint & sparser

    def ascend(
        self, attacked: Attacked, state: State, now: Schedule, base: tf.Tensor, gradient: tf.Tensor
    ) -> tf.Tensor:
        sizes = tf.reshape(tf.abs(gradient), [tf.shape(gradient)[0], -1])
        pixels = sizes.shape[1]
        rank = tf.clip_by_value(tf.cast((1 - state["moving"]) * pixels, tf.int32), 0, pixels - 1)
        smallest = tf.gather(tf.sort(sizes, axis=1), rank, batch_dims=1)
        signs = tf.where(tf.abs(gradient) >= each(smallest, gradient), tf.sign(gradient), 0.0)
        count = tf.reduce_sum(tf.abs(signs), PIXELS, keepdims=True)
        moved = base + each(state["step_size"], base) * tf.math.divide_no_nan(signs, count)
        return self._into(attacked, moved, now.epsilon)

    def enter(self, attacked: Attacked, state: State, number: tf.Tensor) -> tf.Tensor:
        return self._into(attacked, state["best"], self.schedule.at(number).epsilon)

    def _into(self, attacked: Attacked, images: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
        return self.ball.displace(attacked.images, images - attacked.images, epsilon)


#: Classes of APGD, by norm.
APGD_NORMS: dict[str, type[APGD]] = {"linf": LinfAPGD, "l2": L2APGD, "l1": L1APGD}
