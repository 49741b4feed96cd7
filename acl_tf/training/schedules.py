"""Learning rates: a function of the step."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("acl_tf")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then a cosine down to a floor; the rate changes with every step.

    Args:
        peak: Rate at the end of the warm-up.
        total_steps: Step at which the cosine ends.
        warmup_steps: Length of the warm-up, less than `total_steps`.
        floor: Rate at the end of the cosine.
        start: Rate at the first step of the warm-up.

    Raises:
        ValueError: If the warm-up does not end before the schedule.

    Reference: Loshchilov and Hutter, "SGDR", ICLR 2017, Eq. 5, as ACL's released code uses it.
    """

    def __init__(
        self, peak: float, total_steps: int, warmup_steps: int = 0, floor: float = 1e-6, start: float = 0.0
    ) -> None:
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                "`warmup_steps` must be at least 0 and less than `total_steps`. "
                f"Received: warmup_steps={warmup_steps}, total_steps={total_steps}"
            )
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.floor = floor
        self.start = start

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        warmup = self.start + (self.peak - self.start) * step / max(1, self.warmup_steps)
        progress = tf.minimum((step - self.warmup_steps) / (self.total_steps - self.warmup_steps), 1.0)
        cosine = self.floor + (self.peak - self.floor) * 0.5 * (1.0 + tf.cos(math.pi * progress))
        return tf.where(step < self.warmup_steps, warmup, cosine)

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "floor": self.floor,
            "start": self.start,
        }


@keras.saving.register_keras_serializable("acl_tf")
class EpochWarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then a cosine down to a floor; the rate is constant within an epoch.

    With W epochs of warm-up and C of the cosine, epoch e (from 0) has the rate

        start + (peak - start) · e / (W - 1)                              for e < W
        floor + (peak - floor) · (1 + cos(π · min((e - W) / C, 1))) / 2   from then on

    so that the last epoch of the warm-up and the first one of the cosine both have the peak.

    Args:
        peak: Rate at the end of the warm-up.
        epoch_ends: Number of steps up to the end of each epoch, from the start of training; ascending.
        warmup_epochs: Length of the warm-up, less than the number of epochs.
        floor: Rate at the end of the cosine.
        start: Rate of the first epoch of the warm-up.
        cosine_epochs: Length of the cosine; all epochs after the warm-up by default. A longer one does not reach the
            floor, after a shorter one the rate stays there.

    Raises:
        ValueError: If the epochs do not ascend, the warm-up does not end before them, or the cosine has no length.

    Reference: Loshchilov and Hutter, "SGDR", ICLR 2017, Eq. 5, as the released codes of RoCL, DynACL and DeACL use it.
    """

    def __init__(
        self,
        peak: float,
        epoch_ends: Sequence[int],
        warmup_epochs: int = 0,
        floor: float = 1e-6,
        start: float = 0.0,
        cosine_epochs: int | None = None,
    ) -> None:
        ends = [int(end) for end in epoch_ends]
        if not ends or any(later <= earlier for earlier, later in itertools.pairwise([0, *ends])):
            raise ValueError(f"`epoch_ends` must be positive and ascending. Received: epoch_ends={ends}")
        if not 0 <= warmup_epochs < len(ends):
            raise ValueError(
                f"`warmup_epochs` must be at least 0 and less than the {len(ends)} epochs. "
                f"Received: warmup_epochs={warmup_epochs}"
            )
        if cosine_epochs is not None and cosine_epochs < 1:
            raise ValueError(f"`cosine_epochs` must be at least 1. Received: cosine_epochs={cosine_epochs}")
        self.peak = peak
        self.epoch_ends = ends
        self.warmup_epochs = warmup_epochs
        self.floor = floor
        self.start = start
        self.cosine_epochs = cosine_epochs

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        step = tf.cast(step, tf.int64)
        past = step[..., tf.newaxis] >= tf.constant(self.epoch_ends[:-1], tf.int64)  # the last epoch has no end
        epoch = tf.reduce_sum(tf.cast(past, tf.int32), axis=-1)
        return tf.gather(tf.constant([self.rate(e) for e in range(len(self.epoch_ends))], tf.float32), epoch)

    def rate(self, epoch: int) -> float:
        """Returns the rate of an epoch, numbered from 0."""
        if epoch < self.warmup_epochs:
            return self.start + (self.peak - self.start) * epoch / max(1, self.warmup_epochs - 1)
        length = self.cosine_epochs or len(self.epoch_ends) - self.warmup_epochs
        progress = min((epoch - self.warmup_epochs) / length, 1.0)
        return self.floor + (self.peak - self.floor) * 0.5 * (1.0 + math.cos(math.pi * progress))

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "epoch_ends": self.epoch_ends,
            "warmup_epochs": self.warmup_epochs,
            "floor": self.floor,
            "start": self.start,
            "cosine_epochs": self.cosine_epochs,
        }
