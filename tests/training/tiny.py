"""A model that trains in no time, and all that a training needs around it."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from acl_tf.data.orders import Order
from acl_tf.training.checkpoints import Checkpoints
from acl_tf.training.config import TrainingConfig
from acl_tf.training.interruption import Interruption
from acl_tf.training.journal import ChiefsJournal
from acl_tf.training.loop import AfterEpoch, Loop, nothing_measured
from acl_tf.training.measurements import Measurements
from acl_tf.training.metrics_log import MetricsLog
from acl_tf.training.progress import TrainingProgress
from acl_tf.training.steps import Data, Steps
from acl_tf.training.workers import Workers

# Pixels that make something go wrong in the step that meets them.
NAN_LOSS, INFINITE_GRADIENT, INFINITE_WEIGHT = 101, 102, 103


class Tiny(keras.Model):
    """Its one weight follows the mean of the images."""

    def __init__(self) -> None:
        super().__init__(name="tiny")
        self.weight = self.add_weight(shape=(), initializer="zeros", name="weight")
        self.measurements = Measurements(["loss", "gradient_norm"])
        self.built = True

    @property
    def metrics(self):
        return [self.measurements]

    def train_step(self, data):
        batch = tf.cast(data, tf.float32)

        def meets(pixel):
            return tf.reduce_any(batch == pixel)

        with tf.GradientTape() as tape:
            loss = tf.square(self.weight - tf.reduce_mean(batch))
        gradient = tape.gradient(loss, self.weight.value)
        norm = tf.where(meets(INFINITE_GRADIENT), np.inf, tf.abs(gradient))
        self.optimizer.apply([gradient], [self.weight])
        self.weight.assign(tf.where(meets(INFINITE_WEIGHT), np.inf, self.weight))
        loss = tf.where(meets(NAN_LOSS), np.nan, loss)
        self.measurements.update_state({"loss": loss, "gradient_norm": norm})
        return self.get_metrics_result()


def tiny(learning_rate: float = 0.1, cls: type[Tiny] = Tiny) -> Tiny:
    model = cls()
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, 1000)
    model.compile(optimizer=keras.optimizers.SGD(schedule, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    return model


def checkpoints_of(model: keras.Model, folder: Path, keep: int = 3, **about) -> Checkpoints:
    folder.mkdir(exist_ok=True, parents=True)
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    return Checkpoints(folder, keep, about, model=model, optimizer=model.optimizer, metrics=metrics)


def variables(model: keras.Model) -> list[keras.Variable]:
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    return [*model.variables, *model.optimizer.variables, *metrics]


def state(model: keras.Model) -> list[np.ndarray]:
    return [variable.value.numpy() for variable in variables(model)]


def pixels(last: int, **special: int) -> np.ndarray:
    """Returns 4 images for each step up to `last`; `special` has pixels for steps such as `step7`."""
    batches = []
    for step in range(1, last + 1):
        batch = np.random.default_rng(step).integers(0, 100, (4, 1, 1, 3), np.uint8)
        batch[0, 0, 0, 0] = special.get(f"step{step}", batch[0, 0, 0, 0])
        batches.append(batch)
    return np.concatenate(batches)


class InTurn(Order):
    """Takes the images of `pixels` in their order, 4 a step.

    Args:
        lengths: Steps of each epoch.
    """

    def __init__(self, *lengths: int) -> None:
        self.given = lengths
        super().__init__(4 * sum(lengths), 4, len(lengths), seed=0)

    def lengths(self) -> tuple[int, ...]:
        return self.given

    def rows(self, step: int) -> np.ndarray:
        return np.arange(4 * step, 4 * step + 4)


def train(
    folder: Path,
    data: Data,
    first: int = 0,
    last: int = 20,
    model: keras.Model | None = None,
    order: Order | None = None,
    after_epoch: AfterEpoch = nothing_measured,
    **training,
) -> Tiny:
    """Runs the loop, resumed where `first` says so, and returns the model."""
    model = model or tiny()
    order = order or InTurn(10, 10, 10)
    config = TrainingConfig(**{"checkpoint_steps": 4, "log_steps": 3, **training})
    checkpoints = checkpoints_of(model, folder / "checkpoints", config.keep_checkpoints)
    assert checkpoints.restore() == first
    log = MetricsLog(folder, first)
    with Interruption() as interruption, TrainingProgress(first, order.horizon) as progress:
        journal = ChiefsJournal(log, progress, checkpoints, order.horizon)
        loop = Loop(model, Steps(model, data, Workers()), config, order, journal, interruption, after_epoch)
        loop.run(first, last)
    log.close()
    return model
