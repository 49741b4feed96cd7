"""The configuration of a training: learning rate, length, records."""

from typing import Annotated, Literal

from pydantic import Field

from acl_tf.config import Count, NonNegative, Positive, Section

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16", "float64"]


class ScheduleSettings(Section):
    """Settings of the learning rate, which all optimisers share.

    Attributes:
        learning_rate: Rate at the end of the warm-up.
        warmup_epochs: Length of the linear warm-up; none: min(10, 10 % of the epochs).
        warmup_from: Rate at the start of the warm-up.
        rate_per: `step`, or `epoch`: the rate is constant within an epoch.
        cosine_epochs: Length of the cosine where the rate is one per epoch; none: all epochs after the warm-up.
        final_learning_rate: Rate at which the cosine ends.
    """

    learning_rate: Positive = 5.0
    warmup_epochs: NonNegative | None = None
    warmup_from: NonNegative = 0.0
    rate_per: Literal["step", "epoch"] = "step"
    cosine_epochs: Count | None = None
    final_learning_rate: NonNegative = 1e-6


class RunConfig(Section):
    """Length of a training, its precision, and its records.

    Attributes:
        epochs: Passes over the images; the last incomplete batch of each is left out.
        precision: `float32`, `mixed_bfloat16`, `mixed_float16`, or `float64` (for tests).
        seed: Seed of initialisation, order and all randomness.
        checkpoint_steps: Number of steps between two checkpoints; the end of every epoch has one, too.
        keep_checkpoints: Number of the newest checkpoints that are kept; at least 2, so that one may break.
        log_steps: Number of steps between two rows of metrics; the end of every epoch has one, too.
        steps_per_call: Number of steps that TensorFlow takes at a time, which saves time where a step is short; signals
            and NaNs are noticed after them.
        jit: Whether XLA compiles the step; on one device. It draws other random numbers.
        tf32: Whether GPUs may round the factors of float32 products to 10 bits of mantissa, which is several times
            faster.
    """

    epochs: Count = 1000
    precision: Precision = "float32"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    checkpoint_steps: Count = 500
    keep_checkpoints: Annotated[int, Field(ge=2)] = 3
    log_steps: Count = 10
    steps_per_call: Count = 1
    jit: bool = False
    tf32: bool = True


class TrainingConfig(RunConfig):
    """Length and records of a training, and its batch size: images of all devices together."""

    batch_size: Annotated[int, Field(ge=2)] = 512
