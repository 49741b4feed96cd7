"""AutoAttack: a suite of four different attacks without parameters to tune."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from acl_tf.attacks import BALLS
from acl_tf.attacks.autoattack.apgd import APGD_NORMS, L1APGD
from acl_tf.attacks.autoattack.checks import UnsuitableModelError, check_classes, check_model, check_shape, check_square
from acl_tf.attacks.autoattack.fab import FAB
from acl_tf.attacks.autoattack.rebatching import Job, Rebatching, in_batches
from acl_tf.attacks.autoattack.square import SQUARE_NORMS
from acl_tf.attacks.autoattack.stepwise import StepwiseAttack
from acl_tf.randomness import fold_in
from acl_tf.stochastic import decide
from acl_tf.types import Classifier

logger = logging.getLogger(__name__)
WRONG, ROBUST = -2, -1  # in `Tally.broken_by`


class Component(NamedTuple):
    """One of the attacks of AutoAttack.

    Attributes:
        restarts: Number of runs on an image that withstands the attack; for each target, if there are any.
        targets: Number of target classes, the likeliest first; 0: the attack is untargeted.
        draws: Number of gradients that are averaged at every step (EOT).
        large: Whether the early steps are in larger balls.
    """

    restarts: int = 1
    targets: int = 0
    draws: int = 1
    large: bool = False


def _apgd(loss: str) -> Callable[[str, float, Component], StepwiseAttack]:
    def make(norm: str, epsilon: float, component: Component) -> StepwiseAttack:
        phases = L1APGD.phases_of(epsilon, 100) if component.large else None
        return APGD_NORMS[norm](epsilon, loss, steps=100, draws=component.draws, phases=phases)

    return make


# From norm, radius and component to an attack.
ATTACKS: dict[str, Callable[[str, float, Component], StepwiseAttack]] = {
    "apgd-ce": _apgd("cross_entropy"),
    "apgd-dlr": _apgd("dlr"),
    "apgd-t": _apgd("targeted_dlr"),
    "fab": lambda norm, epsilon, component: FAB(epsilon, targeted=False, norm=norm),
    "fab-t": lambda norm, epsilon, component: FAB(epsilon, targeted=True, norm=norm),
    "square": lambda norm, epsilon, component: SQUARE_NORMS[norm](epsilon),
}
CUSTOM = {
    "apgd-ce": Component(restarts=5),
    "apgd-dlr": Component(restarts=5),
    "apgd-t": Component(targets=9),
    "fab": Component(restarts=5),
    "fab-t": Component(targets=9),
    "square": Component(),
}
# The versions as published; l1 has a standard of its own.
VERSIONS: dict[str, dict[str, Component]] = {
    "standard": {
        "apgd-ce": Component(),
        "apgd-t": Component(targets=9),
        "fab-t": Component(targets=9),
        "square": Component(),
    },
    "plus": {name: CUSTOM[name] for name in ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t")},
    "rand": {"apgd-ce": Component(draws=20), "apgd-dlr": Component(draws=20)},
}
STANDARD_L1 = {
    **VERSIONS["standard"],
    "apgd-ce": Component(restarts=5, large=True),
    "apgd-t": Component(targets=5, large=True),
}


def components(version: str, norm: str, attacks: Sequence[str] | None = None) -> dict[str, Component]:
    """Returns the attacks of a version, in their order.

    Args:
        version: `standard`, `plus` or `rand`.
        norm: `linf`, `l2` or `l1`.
        attacks: Names of the attacks to run instead, with the restarts and targets of `plus`; those on gradients
            average as many draws as the version does.

    Raises:
        ValueError: If there is no such version, norm or attack.
    """
    if norm not in BALLS:
        raise ValueError(f"`norm` must be one of {', '.join(BALLS)}. Received: norm={norm!r}")
    if version not in VERSIONS:
        raise ValueError(f"`version` must be one of {', '.join(VERSIONS)}. Received: version={version!r}")
    if attacks is None:
        return STANDARD_L1 if (version, norm) == ("standard", "l1") else VERSIONS[version]
    unknown = [name for name in attacks if name not in ATTACKS]
    if unknown or not attacks:
        raise ValueError(f"`attacks` must be some of {', '.join(ATTACKS)}. Received: attacks={list(attacks)}")
    rand = {name: CUSTOM[name]._replace(draws=20) for name in CUSTOM if name.startswith("apgd")}
    return {name: (rand if version == "rand" else CUSTOM).get(name, CUSTOM[name]) for name in attacks}


@dataclass
class Tally:
    """The results so far for every image, from which an interrupted evaluation can be resumed.

    Attributes:
        broken_by: Number of the attack that broke each image, int8 of shape `(n,)`; -1: none has; -2: the model gets
            the image itself wrong.
        withstood: Jobs of the attacks that have ended without success, boolean of shape `(attacks, n, jobs)`.
        seconds: Duration of each attack, float64 of shape `(attacks,)`.
    """

    broken_by: np.ndarray
    withstood: np.ndarray
    seconds: np.ndarray

    @classmethod
    def empty(cls, attacks: int, images: int, jobs: int) -> "Tally":
        """Returns the tally at the beginning of an evaluation."""
        return cls(np.full(images, ROBUST, np.int8), np.zeros((attacks, images, jobs), bool), np.zeros(attacks))

    @property
    def robust(self) -> np.ndarray:
        """Images that no attack has broken so far, boolean of shape `(n,)`."""
        return self.broken_by == ROBUST

    def before(self, attack: int) -> np.ndarray:
        """Returns which images were robust when an attack began."""
        return self.robust | (self.broken_by >= attack)


class Progress(NamedTuple):
    """The progress of an evaluation.

    Attributes:
        attack: Name of the attack that is running.
        left: Number of images that this attack has not finished yet.
        total: Number of images that were robust when this attack began.
        robust: Number of images that no attack has broken so far.
        found: Adversarial images that were found since the last time, by the indices of the images.
    """

    attack: str
    left: int
    total: int
    robust: int
    found: dict[int, np.ndarray]


class AutoAttackResult(NamedTuple):
    """The result of an evaluation.

    Attributes:
        robust: Images that withstand all attacks, boolean of shape `(n,)`.
        adversarial: Adversarial images in the ball and in [0, 1], of the shape of the attacked images; where no attack
            found one, the image itself.
        survivors: Number of images that the model got right before the first attack (`clean`) and after each attack.
        seconds: Duration of each attack.
        warnings: Reasons not to trust the result, with what to use instead.
    """

    robust: np.ndarray
    adversarial: np.ndarray
    survivors: dict[str, int]
    seconds: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def robust_accuracy(self) -> float:
        """Share of images that withstand all attacks, from 0 to 1."""
        return float(self.robust.mean())


@dataclass
class AutoAttack:
    """Runs several attacks one after the other, each on the images that have withstood the previous ones.

    Attributes:
        model: Function from images in [0, 1], float32 of shape `(batch, height, width, channels)`, to logits. Anything
            that TensorFlow can differentiate; a stochastic model needs `version="rand"`.
        norm: `linf`, `l2` or `l1`.
        epsilon: Radius of the ball, in pixels of [0, 1].
        version: `standard`, `plus` (more restarts, and untargeted FAB) or `rand` (for stochastic models: EOT of 20).
        attacks: Names of the attacks to run instead: `apgd-ce`, `apgd-dlr`, `apgd-t`, `fab`, `fab-t`, `square`.
        seed: Seed of all random numbers. The result is a function of it and of the images, in their order.
        batch_size: Largest number of images that are attacked at once. It does not change which are robust.
        crafted_on: Function that attacks differentiate, equal to `model` but faster; None: `model`.

    Example:

    ```python
    result = AutoAttack(model, norm="linf", epsilon=8 / 255).run(images, labels)
    print(result.robust_accuracy, result.survivors)
    ```

    Raises:
        ValueError: If there is no such norm, version or attack.

    Reference: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks", ICML 2020; https://github.com/fra31/auto-attack.
    """

    model: Classifier
    norm: str = "linf"
    epsilon: float = 8 / 255
    version: str = "standard"
    attacks: Sequence[str] | None = None
    seed: int = 0
    batch_size: int = 128
    crafted_on: Classifier | None = None
    warnings: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.components = components(self.version, self.norm, self.attacks)
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` must be positive. Received: batch_size={self.batch_size}")
        if not 0 < self.epsilon < float("inf"):
            raise ValueError(f"`epsilon` must be positive and finite. Received: epsilon={self.epsilon}")

    def run(self, images: np.ndarray, labels: np.ndarray) -> AutoAttackResult:
        """Attacks images.

        Args:
            images: Images in [0, 1], of shape `(n, height, width, channels)`.
            labels: Labels, integers of shape `(n,)`.

        Raises:
            ValueError: If images and labels are not of these shapes and values, or the model has too few classes for
            an attack, or no gradient.
        """
        images, labels = checked_inputs(images, labels)
        tally = self.tally(len(images))
        adversarial = images.copy()
        for progress in self.proceed(images, labels, tally):
            for image, found in progress.found.items():
                adversarial[image] = found
        seconds = dict(zip(self.components, tally.seconds.tolist()))
        return AutoAttackResult(tally.robust, adversarial, self.survivors(tally), seconds, tuple(self.warnings))

    def tally(self, images: int) -> Tally:
        """Returns the tally of a number of images at the beginning of an evaluation."""
        return Tally.empty(len(self.components), images, max(map(_jobs, self.components.values())))

    def survivors(self, tally: Tally) -> dict[str, int]:
        """Returns how many images the model got right before the first attack (`clean`) and after each."""
        names = ["clean", *self.components]
        return {name: int(tally.before(number).sum()) for number, name in enumerate(names)}

    def proceed(self, images: np.ndarray, labels: np.ndarray, tally: Tally) -> Iterator[Progress]:
        """Attacks images, updates the tally, and yields the progress whenever some images are done.

        Args:
            images: Images in [0, 1], float32 of shape `(n, height, width, channels)`.
            labels: Labels, int32 of shape `(n,)`.
            tally: Tally of the same images, attacks and seed: empty, or that of an interrupted evaluation.
        """
        self.warnings.clear()
        check_shape(images.shape[1:], self.components)
        logits = self.logits(images, labels)
        check_classes(logits.shape[1], self.components)
        tally.broken_by[logits.argmax(axis=1) != labels] = WRONG
        gradients = set(self.components) != {"square"}
        rand = self.version == "rand"
        self._warn(check_model(self.model, self.crafted_on, images, labels, logits, gradients, rand, self.batch_size))
        ranking = np.argsort(-logits, axis=1, kind="stable")[:, 1:]  # the likeliest wrong classes first
        for number, (name, component) in enumerate(self.components.items()):
            if tally.robust.any():
                yield from self._attack(number, name, component, images, labels, ranking, tally)
        self._warn(check_square(self.survivors(tally), len(images)))

    def _attack(
        self,
        number: int,
        name: str,
        component: Component,
        images: np.ndarray,
        labels: np.ndarray,
        ranking: np.ndarray,
        tally: Tally,
    ) -> Iterator[Progress]:
        """Runs one of the attacks on the images that are still robust."""
        component = component._replace(targets=min(component.targets, ranking.shape[1]))
        count = _jobs(component)
        done = tally.withstood[number, :, :count]
        total = int(tally.before(number).sum())
        jobs = [
            Job(image, job, int(ranking[image, job // component.restarts]), job % component.restarts)
            for job in range(count)
            for image in np.flatnonzero(tally.robust & ~done[:, job]).tolist()
        ]
        rounds = -(-total * count // self.batch_size)
        batches = Rebatching(
            ATTACKS[name](self.norm, self.epsilon, component),
            self.crafted_on or self.model,
            self.model,
            ranking.shape[1] + 1,
            -(-total * count // rounds),  # rounds of equal size, so that the last is not nearly empty
            fold_in(tf.constant([self.seed, 0]), list(ATTACKS).index(name)),
        )
        begin = time.perf_counter()
        for outcomes in batches.run(images, labels, jobs, lambda image: bool(tally.robust[image])):
            found = {job.image: image for job, image in reversed(outcomes) if image is not None}
            tally.broken_by[list(found)] = number
            for job, image in outcomes:
                done[job.image, job.number] |= image is None
            tally.seconds[number] += time.perf_counter() - begin
            begin = time.perf_counter()
            left = int((tally.robust & ~done.all(axis=1)).sum())
            yield Progress(name, left, total, int(tally.robust.sum()), found)

    def logits(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns the logits of the images themselves, of shape `(n, classes)`."""
        predict = tf.function(lambda images, indices: decide(self.model, images, indices))
        indices = np.arange(len(images), dtype=np.int32)
        logits = in_batches(predict, min(self.batch_size, len(images)), images, indices).astype(np.float32)
        if logits.ndim != 2 or logits.shape[1] <= labels.max():
            raise ValueError(
                "The model must return logits of shape (batch, classes), one for each label. "
                f"Received: {logits.shape}, labels up to {labels.max()}"
            )
        if np.isnan(logits).any():
            raise UnsuitableModelError(f"The logits of {np.isnan(logits).any(axis=1).sum()} images are not numbers.")
        return logits

    def _warn(self, messages: Sequence[str]) -> None:
        for message in messages:
            logger.warning(message)
            self.warnings.append(message)


def checked_inputs(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels as float32 and int32 arrays, having checked them.

    Raises:
        ValueError: If images are not of shape `(n, height, width, channels)`, floating point and in [0, 1], or labels
            not integers of shape `(n,)`.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or len(images) == 0 or not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            "Images must be floating point, of shape (n, height, width, channels). "
            f"Received: {images.dtype} of shape {images.shape}"
        )
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"Images must lie in [0, 1]. Received: values from {images.min()} to {images.max()}")
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            f"Labels must be integers from 0, of shape ({len(images)},). "
            f"Received: {labels.dtype} of shape {labels.shape}"
        )
    return images.astype(np.float32), labels.astype(np.int32)


def _jobs(component: Component) -> int:
    """Returns the number of jobs that an attack has on each image."""
    return component.restarts * max(component.targets, 1)
