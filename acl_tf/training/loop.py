"""The training loop: steps, measurements, checkpoints, and what ends a run early."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from signal import Signals

import keras
import numpy as np
import tensorflow as tf

from acl_tf.data.orders import Order, Probe
from acl_tf.errors import Interrupted, NonFiniteError
from acl_tf.training.config import RunConfig
from acl_tf.training.interruption import Interruption
from acl_tf.training.journal import Journal
from acl_tf.training.steps import Steps

AfterEpoch = Callable[[int], Mapping[str, float]]


def nothing_measured(epoch: int) -> Mapping[str, float]:
    """Returns what a training without validation measures after an epoch: nothing."""
    return {}


@dataclass
class Loop:
    """Runs training steps over batches.

    `keras.Model.fit` would do on one device, but cannot go on in mid-epoch, and breaks under several workers
    (keras#20585); the step itself is the model's, so that `fit` takes the same one.

    Attributes:
        model: The model, compiled.
        steps: Compiled steps of the model.
        training: Section `training` of the configuration: how often to log and to save.
        order: Order that says which images make the batch of each step.
        journal: Keeper of measurements and states.
        interruption: Whether the user wants an end.
        after_epoch: Function of the epoch's number, from 1; what it returns is logged with the epoch's last step.
    """

    model: keras.Model
    steps: Steps
    training: RunConfig
    order: Order
    journal: Journal
    interruption: Interruption
    after_epoch: AfterEpoch = nothing_measured

    def run(self, first_step: int, last_step: int) -> None:
        """Takes one step for each batch.

        Args:
            first_step: Number of steps that the model has taken.
            last_step: Number of steps that it will have taken.

        Raises:
            NonFiniteError: If loss, gradient or a weight is NaN or infinite; the last good checkpoint is kept.
            Interrupted: If a signal asked for an end, of this worker or another; the state is saved.
        """
        step, horizon = first_step, self.order.horizon
        probe = Probe(self.model, self.steps.data, self.steps.workers.from_chief)
        begin, begin_step = time.perf_counter(), None  # tracing takes most of the first call's time: not counted
        while step < last_step:
            epoch, place = horizon.place_of(step)
            if place == 0:
                self.order.prepare(epoch, probe)
            batches = np.stack([self.order.rows(number) for number in range(step, self._until(step, last_step))])
            step += len(batches)
            values = self.steps(batches)
            self._check_finite(step, values)
            self.journal.advance(step)
            epoch_end = step == horizon.end_after(step - 1)
            if epoch_end or step % self.training.log_steps == 0:
                if begin_step is not None:
                    images = (step - begin_step) * batches.shape[1]
                    values["images_per_second"] = images / (time.perf_counter() - begin)
                if epoch_end:
                    values |= self.after_epoch(epoch + 1)
                self.journal.write(step, values)
                self.model.reset_metrics()
                begin_step = None
            if begin_step is None:
                begin, begin_step = time.perf_counter(), step
            # Every worker ends after the same step, whichever of them was asked to.
            signal = self.steps.workers.highest(self.interruption.signal or 0)
            if signal or epoch_end or step % self.training.checkpoint_steps == 0:
                self._save(step)
            if signal:
                self.steps.workers.wait()  # for the chief, which has to save
                raise Interrupted(
                    f"Interrupted by {Signals(signal).name} after step {step}, {self.journal.saved()}. "
                    "Go on by the same command with --resume.",
                    signal,
                )

    def _until(self, step: int, last_step: int) -> int:
        """Returns the step that the next call ends with: nothing that happens between steps is passed over."""
        stops = [self.training.log_steps, self.training.checkpoint_steps]
        nearest = [(step // stop + 1) * stop for stop in stops]
        epoch_end = self.order.horizon.end_after(step)
        return min(step + self.training.steps_per_call, last_step, epoch_end, *nearest)

    def _check_finite(self, step: int, values: dict[str, float]) -> None:
        # In float16 an overflowing gradient is expected: the optimiser leaves the step out and scales down.
        names = ["loss"] if self.training.precision == "mixed_float16" else ["loss", "gradient_norm"]
        for name in names:
            if not math.isfinite(values[name]):
                self._fail(step, f"The {name.replace('_', ' ')} is {values[name]}")

    def _save(self, step: int) -> None:
        for variable in self.model.trainable_variables:
            if not tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(variable))):
                self._fail(step, f"The weight {variable.path} is not finite")
        self.journal.save(step)

    def _fail(self, step: int, what: str) -> None:
        raise NonFiniteError(
            f"{what} at step {step} (epoch {self.order.horizon.epoch_of(step)}). "
            f"{self.journal.kept()}; try a lower optimizer.learning_rate."
        )
