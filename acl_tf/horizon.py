"""The length of a training: how many steps each of its epochs has."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


class Horizon:
    """The number of steps of each epoch, known before the first, so that schedules and resumed runs are exact.

    Args:
        lengths: Steps of each epoch, each at least 1.

    Raises:
        ValueError: If there is no epoch, or one without a step.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        if not len(lengths) or min(lengths) < 1:
            raise ValueError(f"`lengths` must hold at least one epoch of at least one step. Received: {list(lengths)}")
        self.lengths = tuple(int(length) for length in lengths)
        self.ends = np.cumsum(self.lengths)

    @classmethod
    def uniform(cls, epochs: int, steps_per_epoch: int) -> "Horizon":
        """Returns the horizon of epochs that all have the same number of steps."""
        return cls([steps_per_epoch] * epochs)

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.lengths)

    @property
    def steps(self) -> int:
        """Number of steps of all epochs."""
        return int(self.ends[-1])

    def epoch_of(self, step: int) -> int:
        """Returns the epoch, from 1, of the step of that number, from 1."""
        return int(np.searchsorted(self.ends, step)) + 1

    def place_of(self, step: int) -> tuple[int, int]:
        """Returns the epoch, from 0, that a step belongs to, and its place in it; steps count from 0."""
        epoch = int(np.searchsorted(self.ends, step, side="right"))
        return epoch, step - self.begin_of(epoch)

    def begin_of(self, epoch: int) -> int:
        """Returns the number of steps before an epoch, which counts from 0."""
        return int(self.ends[epoch]) - self.lengths[epoch]

    def end_after(self, step: int) -> int:
        """Returns the number of steps at the end of the epoch that the step after `step` steps belongs to."""
        return int(self.ends[np.searchsorted(self.ends, step, side="right")])

    def steps_of(self, epochs: float) -> float:
        """Returns the number of steps of the first epochs, a fraction of the last one included."""
        whole = min(int(epochs), self.epochs)
        part = (epochs - whole) * self.lengths[whole] if whole < self.epochs else 0.0
        return int(self.ends[whole - 1]) + part if whole else part

    def epoch_at(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the epoch, from 0, that the step after `step` steps belongs to: int64 of the same shape."""
        flat = tf.reshape(tf.cast(step, tf.int64), [-1])
        found = tf.searchsorted(tf.constant(self.ends, tf.int64), flat, side="right", out_type=tf.int64)
        return tf.reshape(found, tf.shape(step))
