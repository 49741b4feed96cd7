"""Orders: which images make the batch of a step, as a function of seed and step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from acl_tf.config import Section, checked_settings
from acl_tf.horizon import Horizon


class Probe(NamedTuple):
    """What an order may look at before an epoch.

    Attributes:
        model: The model that is trained, with its present weights.
        data: Arrays of the images, nested as the model's `train_step` takes them.
        from_chief: Returns the arrays that a function computes in worker 0, in all workers.
    """

    model: Any
    data: Any
    from_chief: Callable[[Callable[[], list[np.ndarray]]], list[np.ndarray]]


class Order:
    """Says which images make the batch of a step, so that a run can go on in mid-epoch, on any number of workers.

    A subclass says how long its epochs are (`lengths`), and perhaps which images the next epochs take (`Coreset`).

    Args:
        images: Number of images, at least `batch_size`.
        batch_size: Number of images in a batch, of all devices together.
        epochs: Number of epochs.
        seed: Seed of the order.
        **settings: Keys of `Settings`.

    Attributes:
        settings: The keyword arguments, validated by `Settings`.
        horizon: Length of each epoch.
    """

    class Settings(Section):
        """The keys of `order:` that the class has beside its name."""

    def __init__(self, images: int, batch_size: int, epochs: int, seed: int, **settings: Any) -> None:
        self.images = images
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed
        self.settings: Any = checked_settings(self.Settings, settings)
        self.horizon = Horizon(self.lengths())
        self._ordered: tuple[int, np.ndarray] = -1, np.empty(0, np.int64)

    @property
    def variables(self) -> list[tf.Variable]:
        """State that a checkpoint keeps."""
        return []

    def lengths(self) -> tuple[int, ...]:
        """Returns the number of steps of each epoch: static, so that schedules know the total."""
        return (self.images // self.batch_size,) * self.epochs

    def prepare(self, epoch: int, probe: Probe) -> None:
        """Prepares an epoch before its first step; every worker calls it.

        Args:
            epoch: Number of the epoch, from 0.
            probe: What the order may look at.
        """

    def candidates(self) -> np.ndarray:
        """Returns the rows of the images that the present epoch takes its batches from."""
        return np.arange(self.images)

    def rows(self, step: int) -> np.ndarray:
        """Returns the rows of the images of a step, integers of shape `(batch_size,)`.

        Args:
            step: Number of the step, counted over all epochs from 0.
        """
        epoch, batch = self.horizon.place_of(step)
        if epoch != self._ordered[0]:
            self._ordered = epoch, shuffled(self.candidates(), self.seed, epoch)
        return self._ordered[1][batch * self.batch_size : (batch + 1) * self.batch_size]


class Shuffled(Order):
    """Takes every image once an epoch, in a new order each time; what does not fill a batch is left out."""


class Coreset(Order):
    """Takes a part of the images, which is chosen before some epochs; a checkpoint keeps the choice.

    A subclass says how many images an epoch takes (`sizes`), when they are chosen anew and which (`choose`).
    """

    def __init__(self, images: int, batch_size: int, epochs: int, seed: int, **settings: Any) -> None:
        super().__init__(images, batch_size, epochs, seed, **settings)
        self.chosen = tf.Variable(tf.ones([images], tf.bool), trainable=False, name="coreset")

    @property
    def variables(self) -> list[tf.Variable]:
        return [self.chosen]

    def sizes(self) -> tuple[int, ...]:
        """Returns how many images each epoch takes its batches from: static."""
        raise NotImplementedError

    def lengths(self) -> tuple[int, ...]:
        return tuple(size // self.batch_size for size in self.sizes())

    def choose(self, epoch: int, probe: Probe) -> np.ndarray | None:
        """Returns the rows that epochs from this one on take; None: those of the epoch before.

        Worker 0 alone is asked, and the others receive its answer.

        Args:
            epoch: Number of the epoch, from 0.
            probe: What the order may look at.
        """
        raise NotImplementedError

    def prepare(self, epoch: int, probe: Probe) -> None:
        def mask() -> list[np.ndarray]:
            rows = self.choose(epoch, probe)
            if rows is None:
                return [self.chosen.numpy()]
            found = np.zeros(self.images, bool)
            found[rows] = True
            return [found]

        (chosen,) = probe.from_chief(mask)
        expected = self.sizes()[epoch]
        if np.count_nonzero(chosen) != expected:
            raise ValueError(
                f"`choose` must return {expected} different rows for epoch {epoch}, as `sizes` says. "
                f"Received: {np.count_nonzero(chosen)}"
            )
        self.chosen.assign(chosen)
        self._ordered = -1, np.empty(0, np.int64)

    def candidates(self) -> np.ndarray:
        return np.flatnonzero(self.chosen.numpy())


def shuffled(rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Returns rows in the order in which an epoch takes them.

    Args:
        rows: Integers, of shape `(n,)`.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
    """
    return rows[np.random.default_rng((seed, epoch)).permutation(len(rows))]
