"""Learning rates per step."""

import math
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("acl_tf")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then a cosine down to a floor.

    Args:
        peak: Rate at the end of the warm-up.
        total_steps: Where the cosine ends.
        warmup_steps: Length of the warm-up, less than `total_steps`.
        floor: Rate that the cosine ends at.

    Raises:
        ValueError: If the warm-up does not end before the schedule.

    Reference: Loshchilov and Hutter, "SGDR", ICLR 2017, Eq. 5, as ACL's released code uses it.
    """

    def __init__(self, peak: float, total_steps: int, warmup_steps: int = 0, floor: float = 1e-6) -> None:
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                "`warmup_steps` must be at least 0 and less than `total_steps`. "
                f"Received: warmup_steps={warmup_steps}, total_steps={total_steps}"
            )
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.floor = floor

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        warmup = self.peak * step / max(1, self.warmup_steps)
        progress = tf.minimum((step - self.warmup_steps) / (self.total_steps - self.warmup_steps), 1.0)
        cosine = self.floor + (self.peak - self.floor) * 0.5 * (1.0 + tf.cos(math.pi * progress))
        return tf.where(step < self.warmup_steps, warmup, cosine)

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "floor": self.floor,
        }
