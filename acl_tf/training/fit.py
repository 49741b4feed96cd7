"""Training in a run folder: what pre-training, fine-tuning and distillation share."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from acl_tf.errors import UsageError
from acl_tf.training.checkpoints import Checkpoints
from acl_tf.training.config import RunConfig
from acl_tf.training.interruption import Interruption
from acl_tf.training.journal import ChiefsJournal, Journal
from acl_tf.training.loop import AfterEpoch, Loop, nothing_measured
from acl_tf.training.metrics_log import MetricsLog
from acl_tf.training.progress import TrainingProgress
from acl_tf.training.run_folder import RunFolder
from acl_tf.training.steps import Data, Steps
from acl_tf.training.workers import Workers

logger = logging.getLogger(__name__)


def fit(
    model: keras.Model,
    training: RunConfig,
    per_epoch: int,
    data: Data,
    rows: Callable[[int, int], Iterator[np.ndarray]],
    folder: RunFolder,
    about: dict[str, Any],
    interruption: Interruption,
    workers: Workers,
    after_epoch: AfterEpoch = nothing_measured,
    **trackables: Any,
) -> None:
    """Trains a model to the end, from the newest checkpoint if there is one.

    Args:
        model: Compiled, in the scope of the workers' strategy.
        training: How long and how to train.
        per_epoch: Steps in an epoch.
        data: NumPy arrays, nested as the model's `train_step` takes them, each with a row an image.
        rows: Yields, for the steps from its first argument to its second, which is not included, which rows of `data`
            make the batch.
        folder: The run folder; the chief's is in session.
        about: What a checkpoint must agree in to be continued from.
        interruption: Whether the user wants an end.
        workers: That share each batch.
        after_epoch: Called with the epoch's number, from 1; returns what it measured.
        **trackables: What else belongs into a checkpoint; each has `variables`.
    """
    with workers.strategy.scope():
        model.optimizer.build(model.trainable_variables)
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    saved = {"model": model, "optimizer": model.optimizer, "metrics": metrics, **trackables}
    first = 0
    with workers.together():
        if workers.is_chief:
            checkpoints = Checkpoints(folder.checkpoints, training.keep_checkpoints, about=about, **saved)
            first = checkpoints.restore()
    first = workers.highest(first)
    if first:
        logger.info("Going on after step %d of %d", first, training.epochs * per_epoch)
    others = [variable for trackable in trackables.values() for variable in trackable.variables]
    workers.share_state([*model.variables, *model.optimizer.variables, *metrics, *others])
    with contextlib.ExitStack() as stack:
        journal = Journal()
        total = training.epochs * per_epoch
        if workers.is_chief:
            log = stack.enter_context(contextlib.closing(MetricsLog(folder.path, first)))
            progress = stack.enter_context(TrainingProgress(first, total, per_epoch))
            journal = ChiefsJournal(log, progress, checkpoints, per_epoch)
        steps = Steps(model, data, workers, training.jit)
        loop = Loop(model, steps, training, per_epoch, journal, interruption, after_epoch)
        loop.run(rows(first, total), first, total)


def check_parallelism(training: RunConfig, batch_size: int, workers: Workers) -> None:
    """Checks that the replicas can share a batch.

    Args:
        training: How to train.
        batch_size: Of all devices together; less than what was asked for where there are fewer images.
        workers: That share each batch.

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
