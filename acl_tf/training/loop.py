"""The training loop: steps, measurements, checkpoints, and what ends a run early."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from acl_tf.config import RunConfig
from acl_tf.data.batches import epoch_of
from acl_tf.errors import Interrupted, NonFiniteError
from acl_tf.training.checkpoints import Checkpoints
from acl_tf.training.interruption import Interruption
from acl_tf.training.metrics_log import MetricsLog
from acl_tf.training.progress import TrainingProgress

AfterEpoch = Callable[[int], Mapping[str, float]]


def nothing_measured(epoch: int) -> Mapping[str, float]:
    """What a training without validation measures after an epoch."""
    return {}


@dataclass
class Loop:
    """Runs a model's `train_step` over batches.

    `keras.Model.fit` would do on one device, but cannot go on in mid-epoch, and breaks under several workers
    (keras#20585); the step itself is the model's, so that `fit` takes the same one.

    Attributes:
        model: Compiled.
        training: How often to log and to save.
        steps_per_epoch: To name the epoch of a step.
        checkpoints: Where the state goes.
        log: Where measurements go.
        progress: What the user sees.
        interruption: Whether the user wants an end.
        after_epoch: Called with the epoch's number, from 1; what it returns is logged with the epoch's last step.
    """

    model: keras.Model
    training: RunConfig
    steps_per_epoch: int
    checkpoints: Checkpoints
    log: MetricsLog
    progress: TrainingProgress
    interruption: Interruption
    after_epoch: AfterEpoch = nothing_measured

    def run(self, batches: Iterable[Any], first_step: int) -> None:
        """Takes one step for each batch.

        Args:
            batches: Of the steps from `first_step` on; arrays, or tuples of them, as the model's `train_step` takes.
            first_step: How many steps the model has taken.

        Raises:
            NonFiniteError: If loss, gradient or a weight is NaN or infinite; the last good checkpoint is kept.
            Interrupted: If a signal asked for an end; the state is saved.
        """
        train_step = tf.function(self.model.train_step)
        begin, begin_step = time.perf_counter(), None  # tracing takes most of the first step's time: not counted
        for step, batch in enumerate(batches, first_step + 1):
            rate = tf.convert_to_tensor(self.model.optimizer.learning_rate)
            values = {name: float(value) for name, value in train_step(_tensors(batch)).items()}
            self._check_finite(step, values)
            self.progress.advance(step)
            epoch_end = step % self.steps_per_epoch == 0
            if epoch_end or step % self.training.log_steps == 0:
                values["learning_rate"] = float(rate)
                if begin_step is not None:
                    images = (step - begin_step) * len(tf.nest.flatten(batch)[0])
                    values["images_per_second"] = images / (time.perf_counter() - begin)
                if epoch_end:
                    values |= self.after_epoch(epoch_of(step, self.steps_per_epoch))
                self.log.write(step, epoch_of(step, self.steps_per_epoch), values)
                self.progress.report(step, values)
                self.model.reset_metrics()
                begin_step = None
            if begin_step is None:
                begin, begin_step = time.perf_counter(), step
            signal = self.interruption.signal
            if signal or epoch_end or step % self.training.checkpoint_steps == 0:
                path = self._save(step)
            if signal:
                raise Interrupted(
                    f"Interrupted by {signal.name} after step {step}, saved as {path}. "
                    "Go on by the same command with --resume.",
                    signal,
                )

    def _check_finite(self, step: int, values: dict[str, float]) -> None:
        # In float16 an overflowing gradient is expected: the optimiser leaves the step out and scales down.
        names = ["loss"] if self.training.precision == "mixed_float16" else ["loss", "gradient_norm"]
        for name in names:
            if not math.isfinite(values[name]):
                self._fail(step, f"The {name.replace('_', ' ')} is {values[name]}")

    def _save(self, step: int) -> Path:
        for variable in self.model.trainable_variables:
            if not tf.reduce_all(tf.math.is_finite(variable)):
                self._fail(step, f"The weight {variable.path} is not finite")
        return self.checkpoints.save(step)

    def _fail(self, step: int, what: str) -> None:
        kept = self.checkpoints.paths()
        epoch = epoch_of(step, self.steps_per_epoch)
        raise NonFiniteError(
            f"{what} at step {step} (epoch {epoch}). "
            f"{f'The last good checkpoint is {kept[-1]}' if kept else 'There is no checkpoint yet'}; "
            "try a lower optimizer.learning_rate."
        )


def _tensors(batch: Any) -> Any:
    return tf.nest.map_structure(tf.convert_to_tensor, batch)
