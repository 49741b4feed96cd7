"""Attacks many images in a batch of fixed size: when an image is done, the next one takes its place."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from acl_tf.attacks.autoattack.stepwise import Attacked, Predict, State, StepwiseAttack, choose, is_wrong
from acl_tf.losses.margin import margin
from acl_tf.randomness import fold_in
from acl_tf.stochastic import decide, draws_noise
from acl_tf.types import Classifier

DRAWS = 1000  # more draws than any step takes, so that no two steps share a seed
# Two logits this close, relative to their size, may change their order with the size of the batch.
TIE = 1e-6


class Job(NamedTuple):
    """One run of an attack on one image.

    Attributes:
        image: Index of the image.
        number: Number of the job, from 0, among those of the image.
        target: Target class of a targeted attack; not used by others.
        restart: Number of the restart, from 0, among the runs with this target.
    """

    image: int
    number: int
    target: int = 0
    restart: int = 0


class Outcome(NamedTuple):
    """The result of a job.

    Attributes:
        job: The job that ended.
        found: Image that the model gets wrong, of shape `(height, width, channels)`; None: the attack found none.
    """

    job: Job
    found: np.ndarray | None


class Slots(NamedTuple):
    """Contents of the places of a batch, as tensors.

    Attributes:
        rows: Indices of the images.
        noise: Seeds of the noise of a stochastic model, int32 of shape `(size, 2)`.
        attacked: Images, labels, targets, restarts and seeds.
        number: Number of steps that each place has taken.
        found: Whether the attack has found a candidate that the attacked model has not verified yet.
        adversarial: Last candidate that the attack found.
        state: State of the attack.
    """

    rows: tf.Tensor
    noise: tf.Tensor
    attacked: Attacked
    number: tf.Tensor
    found: tf.Tensor
    adversarial: tf.Tensor
    state: State


class Rebatching:
    """Runs jobs of an attack side by side, each until it succeeds or has taken all its steps.

    All shapes are constant, so nothing is traced twice.

    Args:
        attack: The attack.
        crafted_on: Model that the attack sees.
        model: Model that is attacked: a candidate counts only if this model gets it wrong.
        classes: Number of classes.
        size: Size of the batch.
        seed: Seed of all random numbers of all jobs, int32 of shape `(2,)`.
    """

    def __init__(
        self,
        attack: StepwiseAttack,
        crafted_on: Classifier,
        model: Classifier,
        classes: int,
        size: int,
        seed: tf.Tensor,
    ) -> None:
        self.attack = attack
        self.crafted_on = crafted_on
        self.model = model
        self.classes = classes
        self.size = size
        self.seed = seed
        # With a random model, every further verification is another chance of a wrong answer: candidates get one only.
        self.once = attack.draws > 1 and not draws_noise(model)
        self._advance = tf.function(self.advance)
        self._refill = tf.function(self.refill)
        self._verify = tf.function(self.verify)

    def run(
        self, images: np.ndarray, labels: np.ndarray, jobs: Iterable[Job], is_open: Callable[[int], bool]
    ) -> Iterator[list[Outcome]]:
        """Runs jobs until all have ended, and yields the outcomes of those that ended since the last time.

        Args:
            images: Images in [0, 1], float32 of shape `(n, height, width, channels)`.
            labels: Labels, integers of shape `(n,)`.
            jobs: Jobs, in the order in which they begin.
            is_open: Function from an image's index to whether it is still to be attacked; if not, its jobs are skipped,
                or stopped.
        """
        waiting = (job for job in jobs if is_open(job.image))
        places: list[Job | None] = [None] * self.size
        slots = None
        while True:
            places = [job if job and is_open(job.image) else None for job in places]
            free = [place for place, job in enumerate(places) if job is None]
            begun = dict(zip(free, waiting))  # takes no more jobs than there are places
            for place, job in begun.items():
                places[place] = job
            if not any(places):
                return
            if begun:
                slots = self._filled(slots, images, labels, places, list(begun))
            slots = self._advance(slots)
            yield list(self._ended(slots, places))

    def _filled(
        self,
        slots: Slots | None,
        images: np.ndarray,
        labels: np.ndarray,
        places: list[Job | None],
        begun: list[int],
    ) -> Slots:
        """Returns the slots with new jobs in the places `begun`; places without a job repeat some other job."""
        some = next(job for job in places if job)
        jobs = [job or some for job in places]
        rows = [job.image for job in jobs]
        fresh = (
            tf.constant(images[rows]),
            tf.constant(labels[rows], tf.int32),
            tf.constant([job.target for job in jobs], tf.int32),
            tf.constant([job.restart for job in jobs], tf.int32),
            tf.constant([[job.image, job.number] for job in jobs], tf.int32),
        )
        if slots is None:
            return tf.function(self.begin)(*fresh)
        return self._refill(slots, tf.constant(np.isin(np.arange(self.size), begun)), *fresh)

    def _ended(self, slots: Slots, places: list[Job | None]) -> Iterator[Outcome]:
        """Yields the outcomes of the jobs that have ended, and frees their places."""
        over = slots.number.numpy() >= self.attack.steps
        found = slots.found.numpy() & (over | (not self.once))
        if found.any():
            found = found & self._verify(slots).numpy()
        for place, job in enumerate(places):
            if job and (found[place] or over[place]):
                places[place] = None
                yield Outcome(job, slots.adversarial[place].numpy() if found[place] else None)

    def begin(
        self, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor, restarts: tf.Tensor, jobs: tf.Tensor
    ) -> Slots:
        """Returns slots in which every place is at the first step of a new job."""
        seeds = tf.map_fn(lambda job: fold_in(fold_in(self.seed, job[0]), job[1]), jobs)
        noise = tf.map_fn(lambda seed: fold_in(seed, 0), seeds)  # its second half is added to by each step
        attacked = Attacked(images, labels, targets, restarts, seeds)
        none = tf.zeros_like(labels)
        return Slots(jobs[:, 0], noise, attacked, none, tf.cast(none, tf.bool), images, self.attack.start(attacked))

    def refill(self, slots: Slots, begun: tf.Tensor, *fresh: tf.Tensor) -> Slots:
        """Returns the slots with new jobs in the places where `begun`, boolean of shape `(size,)`, is true."""
        return tf.nest.map_structure(lambda new, old: choose(begun, new, old), self.begin(*fresh), slots)

    def advance(self, slots: Slots) -> Slots:
        """Takes `steps_per_call` steps of the attack in every place."""
        attacked = slots.attacked

        def body(
            taken: tf.Tensor, number: tf.Tensor, found: tf.Tensor, adversarial: tf.Tensor, state: State
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, State]:
            step = self.attack.step(self._predict(self.crafted_on, slots.noise, number), attacked, state, number)
            new = step.found & (number < self.attack.steps)
            state = {name: tf.ensure_shape(value, state[name].shape) for name, value in step.state.items()}
            adversarial = tf.ensure_shape(choose(new, step.candidates, adversarial), adversarial.shape)
            return taken + 1, number + 1, found | new, adversarial, state

        found = slots.found if self.once else tf.zeros_like(slots.found)
        start = (tf.constant(0), slots.number, found, slots.adversarial, slots.state)
        _, *rest = tf.while_loop(lambda taken, *_: taken < self.attack.steps_per_call, body, start)
        return Slots(slots.rows, slots.noise, attacked, *rest)

    def verify(self, slots: Slots) -> tf.Tensor:
        """Returns which candidates the model gets wrong: logits of NaN are wrong, ties of two logits are not."""
        logits, labels = self._shaped(decide(self.model, slots.adversarial, slots.rows)), slots.attacked.labels
        wrong = is_wrong(logits, labels)
        if draws_noise(self.model):
            return wrong  # these logits are counts of votes, which do not depend on the batch size
        above, own = margin(logits, labels), tf.gather(logits, labels, batch_dims=1)
        apart = above > TIE * tf.maximum(tf.abs(own), tf.abs(own + above))
        return wrong & (apart | tf.math.is_nan(above))

    def _predict(self, model: Classifier, seeds: tf.Tensor, number: tf.Tensor) -> Predict:
        """Returns the model; one that draws noise gets seeds that differ between steps and between draws."""
        if not draws_noise(model):
            return lambda images, draw: self._shaped(model(images))

        def predict(images: tf.Tensor, draw: tf.Tensor | int) -> tf.Tensor:
            return self._shaped(
                model.seeded(images, seeds + tf.stack([tf.zeros_like(number), number * DRAWS + draw], axis=1))
            )

        return predict

    def _shaped(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns logits as float32 of a known shape: those of a SavedModel have no static shape."""
        return tf.ensure_shape(tf.cast(logits, tf.float32), (self.size, self.classes))


def in_batches(function: Callable[..., tf.Tensor], size: int, *columns: np.ndarray) -> np.ndarray:
    """Calls a function on batches of one size, filling up the last, and returns all results as one array.

    Args:
        function: Function of the batch's rows of each column, as tensors.
        size: Size of a batch.
        *columns: Arrays, each of shape `(n, …)`.
    """
    count, parts = len(columns[0]), []
    for begin in range(0, count, size):
        rows = np.minimum(np.arange(begin, begin + size), count - 1)
        parts.append(function(*(tf.constant(column[rows]) for column in columns)).numpy())
    return np.concatenate(parts)[:count]
