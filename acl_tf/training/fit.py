"""Training in a run folder: what pre-training, fine-tuning and distillation share."""

import contextlib
import logging
from typing import Any

import keras

from acl_tf.data.orders import Order
from acl_tf.errors import UsageError
from acl_tf.training.checkpoints import Checkpoints
from acl_tf.training.config import RunConfig
from acl_tf.training.journal import ChiefsJournal, Journal
from acl_tf.training.loop import AfterEpoch, Loop, nothing_measured
from acl_tf.training.metrics_log import MetricsLog
from acl_tf.training.progress import TrainingProgress
from acl_tf.training.run import Run
from acl_tf.training.steps import Data, Steps
from acl_tf.training.workers import Workers

logger = logging.getLogger(__name__)


def fit(
    run: Run,
    model: keras.Model,
    data: Data,
    order: Order,
    about: dict[str, Any],
    after_epoch: AfterEpoch = nothing_measured,
    **trackables: Any,
) -> None:
    """Trains a model to the end, from the newest checkpoint if there is one.

    Args:
        run: The run, whose folder is open; its configuration has the section `training`.
        model: Compiled, in the scope of the workers' strategy.
        data: NumPy arrays, nested as the model's `train_step` takes them, each with a row an image.
        order: Order that says which rows of `data` make the batch of each step.
        about: What a checkpoint must agree in to be continued from.
        after_epoch: Function of the epoch's number, from 1, that returns what it measured.
        **trackables: What else belongs into a checkpoint; each has `variables`.
    """
    workers, training, total = run.workers, run.config.training, order.horizon.steps
    with workers.strategy.scope():
        model.optimizer.build(model.trainable_variables)
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    saved = {"model": model, "optimizer": model.optimizer, "metrics": metrics, **trackables}
    if order.variables:
        saved["order"] = order.variables
    first = 0
    with workers.together():
        if workers.is_chief:
            checkpoints = Checkpoints(run.folder.checkpoints, training.keep_checkpoints, about=about, **saved)
            first = checkpoints.restore()
    first = workers.highest(first)
    if first:
        logger.info("Going on after step %d of %d", first, total)
    others = [variable for trackable in trackables.values() for variable in trackable.variables]
    workers.share_state([*model.variables, *model.optimizer.variables, *metrics, *others])
    _share_order(order, workers)
    with contextlib.ExitStack() as stack:
        journal = Journal()
        if workers.is_chief:
            log = stack.enter_context(contextlib.closing(MetricsLog(run.folder.path, first)))
            progress = stack.enter_context(TrainingProgress(first, order.horizon))
            journal = ChiefsJournal(log, progress, checkpoints, order.horizon)
        steps = Steps(model, data, workers, training.jit)
        Loop(model, steps, training, order, journal, run.interruption, after_epoch).run(first, total)


def _share_order(order: Order, workers: Workers) -> None:
    """Gives all workers the state of the chief's order, which no strategy knows."""
    received = workers.from_chief(lambda: [variable.numpy() for variable in order.variables])
    for variable, value in zip(order.variables, received, strict=True):
        variable.assign(value)


def check_parallelism(training: RunConfig, batch_size: int, workers: Workers) -> None:
    """Checks that the replicas can share a batch.

    Args:
        training: Section `training` of the configuration.
        batch_size: Number of images in a batch of all devices together; fewer than configured where there are fewer.
        workers: Processes that share each batch.

    Raises:
        UsageError: If the number of replicas does not divide the batch size, or if XLA is to compile for several.
    """
    if batch_size % workers.replicas:
        raise UsageError(
            f"The global batch size must be divisible by the number of replicas, {workers.replicas}. "
            f"Received: {batch_size}"
        )
    if training.jit and workers.replicas > 1:
        raise UsageError(f"--jit works on one device. Received: {workers.replicas} replicas")
