"""Training in a run folder: what pre-training, fine-tuning and distillation share."""

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

import keras

from acl_tf.config import RunConfig
from acl_tf.training.checkpoints import Checkpoints
from acl_tf.training.interruption import Interruption
from acl_tf.training.loop import AfterEpoch, Loop, nothing_measured
from acl_tf.training.metrics_log import MetricsLog
from acl_tf.training.progress import TrainingProgress
from acl_tf.training.run_folder import RunFolder

logger = logging.getLogger(__name__)


def fit(
    model: keras.Model,
    training: RunConfig,
    per_epoch: int,
    batches: Callable[[int, int], Iterable[Any]],
    folder: RunFolder,
    about: dict[str, Any],
    interruption: Interruption,
    after_epoch: AfterEpoch = nothing_measured,
    **trackables: Any,
) -> None:
    """Trains a model to the end, from the newest checkpoint if there is one.

    Args:
        model: Compiled; its `train_step` takes what `batches` yields.
        training: How long and how to train.
        per_epoch: Steps in an epoch.
        batches: Yields the batches of the steps from its first argument to its second, which is not included.
        folder: The run folder, in session.
        about: What a checkpoint must agree in to be continued from.
        interruption: Whether the user wants an end.
        after_epoch: Called with the epoch's number, from 1; returns what it measured.
        **trackables: What else belongs into a checkpoint.
    """
    model.optimizer.build(model.trainable_variables)
    checkpoints = Checkpoints(
        folder.checkpoints,
        training.keep_checkpoints,
        about=about,
        model=model,
        optimizer=model.optimizer,
        metrics=[variable for metric in model.metrics for variable in metric.variables],
        **trackables,
    )
    total = training.epochs * per_epoch
    first = checkpoints.restore()
    if first:
        logger.info("Going on after step %d of %d", first, total)
    with (
        contextlib.closing(MetricsLog(folder.path, first)) as log,
        TrainingProgress(first, total, per_epoch) as progress,
    ):
        loop = Loop(model, training, per_epoch, checkpoints, log, progress, interruption, after_epoch)
        loop.run(batches(first, total), first)
