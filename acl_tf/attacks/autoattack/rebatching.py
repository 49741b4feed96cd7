"""Many images through a batch of one size: where an image is done, the next one takes its place."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from acl_tf.attacks.autoattack.stepwise import Attacked, Predict, State, StepwiseAttack, choose, is_wrong
from acl_tf.losses.margin import margin
from acl_tf.randomness import fold_in
from acl_tf.stochastic import decide, draws_noise
from acl_tf.types import Classifier

DRAWS = 1000  # more than any step takes, so that no two steps share one
# Two logits this near to each other, relative to their size, change places with the size of the batch.
TIE = 1e-6


class Job(NamedTuple):
    """One run of an attack on one image.

    Attributes:
        image: Which one.
        number: The how-manieth job of the image this is.
        target: The class that a targeted attack drives to; else any.
        restart: The how-manieth run with this target it is.
    """

    image: int
    number: int
    target: int = 0
    restart: int = 0


class Outcome(NamedTuple):
    """How a job ended.

    Attributes:
        job: Which one.
        found: An image that the model gets wrong, of shape `(height, width, channels)`; None: the image withstood.
    """

    job: Job
    found: np.ndarray | None


class Slots(NamedTuple):
    """What the places of a batch hold, as tensors.

    Attributes:
        rows: The numbers of the images.
        noise: Seeds of what a stochastic model draws, int32 of shape `(size, 2)`.
        attacked: Images, labels, ….
        number: How many steps each has behind it.
        found: Whether something is found that the model was not asked about yet.
        adversarial: What it found last.
        state: Of the attack.
    """

    rows: tf.Tensor
    noise: tf.Tensor
    attacked: Attacked
    number: tf.Tensor
    found: tf.Tensor
    adversarial: tf.Tensor
    state: State


class Rebatching:
    """Runs jobs of an attack side by side, each until something is found or its steps are over.

    All shapes stay what they are, so nothing is traced twice.

    Args:
        attack: What is run.
        crafted_on: The model that the attack sees.
        model: The model that is attacked: an image counts as found only where this one gets it wrong.
        classes: How many logits an image has.
        size: Of the batch.
        seed: int32, of shape `(2,)`: of all random numbers of all jobs.
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
        # Where noise decides, every further question is a further chance to be called wrong.
        self.once = attack.draws > 1 and not draws_noise(model)
        self._advance = tf.function(self.advance)
        self._refill = tf.function(self.refill)
        self._verify = tf.function(self.verify)

    def run(
        self, images: np.ndarray, labels: np.ndarray, jobs: Iterable[Job], is_open: Callable[[int], bool]
    ) -> Iterator[list[Outcome]]:
        """Yields what came of the jobs that ended, again and again, until all have.

        Args:
            images: float32 in [0, 1], of shape `(n, height, width, channels)`.
            labels: Integers, of shape `(n,)`.
            jobs: In the order in which they begin.
            is_open: Whether an image still matters; its jobs are left out, or given up, where it does not.
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
        """Returns the slots with jobs that begin; places without a job repeat some other."""
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
        """Yields what came of the jobs that have ended, and makes room in their places."""
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
        """Returns the slots with a job at the first step in each place."""
        seeds = tf.map_fn(lambda job: fold_in(fold_in(self.seed, job[0]), job[1]), jobs)
        noise = tf.map_fn(lambda seed: fold_in(seed, 0), seeds)  # a key of its own: steps are added to the other half
        attacked = Attacked(images, labels, targets, restarts, seeds)
        none = tf.zeros_like(labels)
        return Slots(jobs[:, 0], noise, attacked, none, tf.cast(none, tf.bool), images, self.attack.start(attacked))

    def refill(self, slots: Slots, begun: tf.Tensor, *fresh: tf.Tensor) -> Slots:
        """Returns the slots with the jobs that begin in some places, boolean of shape `(size,)`."""
        return tf.nest.map_structure(lambda new, old: choose(begun, new, old), self.begin(*fresh), slots)

    def advance(self, slots: Slots) -> Slots:
        """Takes some steps in every place."""
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
        """Returns which of the adversarial images the model gets wrong: NaN is, a tie of logits is not."""
        logits, labels = self._shaped(decide(self.model, slots.adversarial, slots.rows)), slots.attacked.labels
        wrong = is_wrong(logits, labels)
        if draws_noise(self.model):
            return wrong  # votes are numbers that no batch size changes
        above, own = margin(logits, labels), tf.gather(logits, labels, batch_dims=1)
        apart = above > TIE * tf.maximum(tf.abs(own), tf.abs(own + above))
        return wrong & (apart | tf.math.is_nan(above))

    def _predict(self, model: Classifier, seeds: tf.Tensor, number: tf.Tensor) -> Predict:
        """Returns the model with, if it takes them, seeds that differ from step to step and from draw to draw."""
        if not draws_noise(model):
            return lambda images, draw: self._shaped(model(images))

        def predict(images: tf.Tensor, draw: tf.Tensor | int) -> tf.Tensor:
            return self._shaped(
                model.seeded(images, seeds + tf.stack([tf.zeros_like(number), number * DRAWS + draw], axis=1))
            )

        return predict

    def _shaped(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns logits as float32 of a known shape: what a SavedModel returns has none."""
        return tf.ensure_shape(tf.cast(logits, tf.float32), (self.size, self.classes))


def in_batches(function: Callable[..., tf.Tensor], size: int, *columns: np.ndarray) -> np.ndarray:
    """Calls a function on batches of one size, the last of which is filled up, and returns what it returns.

    Args:
        function: Of some rows of each column, as tensors.
        size: Of a batch.
        columns: Arrays, each of shape `(n, …)`.
    """
    count, parts = len(columns[0]), []
    for begin in range(0, count, size):
        rows = np.minimum(np.arange(begin, begin + size), count - 1)
        parts.append(function(*(tf.constant(column[rows]) for column in columns)).numpy())
    return np.concatenate(parts)[:count]
