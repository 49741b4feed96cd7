"""Linear models whose least perturbations are known, and stepwise attacks, walked step by step."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from acl_tf.attacks.autoattack.rebatching import Job, Rebatching
from acl_tf.attacks.autoattack.stepwise import Attacked, StepwiseAttack
from acl_tf.types import Classifier

ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
DUALS = {"linf": 1, "l2": 2, "l1": np.inf}


class Linear:
    """Logits that are linear in the pixels, so that the distance to every other class is known.

    In a duel all classes but two are out of question.
    """

    def __init__(self, classes: int = 5, size: int = 4, seed: int = 0, duel: bool = False) -> None:
        self.kernel = np.random.default_rng(seed + 1).normal(size=(3 * size**2, classes)).astype(np.float32)
        self.bias = np.zeros(classes, np.float32)
        if duel:
            self.kernel[:, 2:], self.bias[2:] = 0, -30

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return tf.reshape(images - 0.5, [-1, len(self.kernel)]) @ self.kernel + self.bias

    def labels(self, images: np.ndarray) -> np.ndarray:
        return self(images).numpy().argmax(axis=1).astype(np.int32)

    def distances(self, images: np.ndarray, labels: np.ndarray, norm: str) -> np.ndarray:
        """To where each class ties with the label, of shape `(n, classes)`; infinite for the label itself."""
        flat = np.reshape(images, [len(images), -1]).astype(np.float64) - 0.5
        logits, rows = flat @ self.kernel.astype(np.float64) + self.bias, np.arange(len(labels))
        gaps = logits[rows, labels][:, None] - logits
        normals = (self.kernel.T[None] - self.kernel.T[labels][:, None]).astype(np.float64)
        lengths = np.linalg.norm(normals, DUALS[norm], axis=2)
        lengths[rows, labels] = 1.0
        found = gaps / lengths
        found[rows, labels] = np.inf
        return found

    def at_distance(self, distance: float, norm: str, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """Returns grey images whose nearest other class is that far away, and their labels."""
        images = pixels(60, size=round((len(self.kernel) / 3) ** 0.5))
        labels = self.labels(images)
        for _ in range(30):  # logits are linear but for the bias
            least = self.distances(images, labels, norm).min(axis=1)
            images = 0.5 + (images - 0.5) * (distance / least)[:, None, None, None].clip(0.3, 3)
        far = np.abs(images - 0.5).max(axis=(1, 2, 3)).argsort(kind="stable")[:count]
        images = images[far].astype(np.float32)
        np.testing.assert_allclose(self.distances(images, labels[far], norm).min(axis=1), distance, rtol=1e-3)
        assert np.abs(images - 0.5).max() < 0.2
        return images, labels[far]


def hilly(images: tf.Tensor, classes: int = 3) -> tf.Tensor:
    """Logits with many local maxima, so that another start finds another one."""
    weights = np.random.default_rng(7).normal(size=(int(np.prod(images.shape[1:])), classes)).astype(np.float32)
    return tf.sin(20 * tf.reshape(images, [-1, len(weights)])) @ weights


def pixels(count: int = 8, seed: int = 0, low: float = 0.4, high: float = 0.6, size: int = 4) -> np.ndarray:
    """Images, by default so far from 0 and 1 that a small ball lies inside."""
    return np.random.default_rng(seed).uniform(low, high, (count, size, size, 3)).astype(np.float32)


def extremes(count: int = 8, seed: int = 0, size: int = 4) -> np.ndarray:
    """Images of which many pixels are black or white."""
    return np.clip(pixels(count, seed, -0.5, 1.5, size), 0, 1)


def attacked(
    images: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray | None = None,
    restart: int = 0,
    seeds: Sequence[int] | int = 0,
) -> Attacked:
    count = len(images)
    numbers = np.broadcast_to(seeds, count)
    return Attacked(
        tf.constant(images),
        tf.constant(labels, tf.int32),
        tf.constant(np.zeros(count) if targets is None else targets, tf.int32),
        tf.fill([count], restart),
        tf.constant(np.stack([numbers, np.arange(count)], axis=1), tf.int32),
    )


class Walk(NamedTuple):
    """What an attack does: the first axis is that of the steps."""

    begin: dict[str, np.ndarray]
    candidates: np.ndarray
    found: np.ndarray
    states: dict[str, np.ndarray]


def walk(attack: StepwiseAttack, model: Classifier, under: Attacked, steps: int | None = None) -> Walk:
    """Takes the steps of an attack, by default all."""

    @functools.partial(tf.function, autograph=False)
    def step(state: dict[str, tf.Tensor], number: tf.Tensor) -> tuple:
        numbers = tf.fill([len(under.labels)], number)
        return tuple(attack.step(lambda images, draw: model(images), under, state, numbers))

    begin = state = tf.function(attack.start, autograph=False)(under)
    candidates, found, states = [], [], []
    for number in range(steps or attack.steps):
        state, candidate, hit = step(state, tf.constant(number))
        candidates.append(candidate.numpy())
        found.append(hit.numpy())
        states.append({name: value.numpy() for name, value in state.items()})
    whole = {name: np.stack([one[name] for one in states]) for name in states[0]}
    start = {name: value.numpy() for name, value in begin.items()}
    return Walk(start, np.stack(candidates), np.stack(found), whole)


def away(candidates: np.ndarray, images: np.ndarray, norm: str) -> np.ndarray:
    """How far each candidate is from its image, of shape `(steps, n)`, computed in float64."""
    delta = candidates.astype(np.float64) - images.astype(np.float64)
    return np.linalg.norm(delta.reshape(*delta.shape[:2], -1), ORDERS[norm], axis=2)


def robust(
    attack: StepwiseAttack,
    model: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray | None = None,
    restarts: int = 1,
    seed: int = 0,
    size: int | None = None,
) -> np.ndarray:
    """Which images withstand an attack, by all restarts and, if there are any, for all targets `(n, targets)`."""
    goals = np.zeros((len(images), 1), int) if targets is None else np.asarray(targets)
    jobs = [
        Job(image, number, int(goals[image, number // restarts]), number % restarts)
        for number in range(restarts * goals.shape[1])
        for image in range(len(images))
    ]
    open_ = np.ones(len(images), bool)
    classes = model(tf.constant(images[:1])).shape[1]
    batches = Rebatching(attack, model, model, classes, size or len(images), tf.constant([seed, 0]))
    for outcomes in batches.run(images, labels, jobs, lambda image: bool(open_[image])):
        for job, found in outcomes:
            open_[job.image] &= found is None
    return open_
