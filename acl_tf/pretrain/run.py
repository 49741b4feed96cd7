"""From a configuration to a run folder: what `acl-tf pretrain` does."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from acl_tf.attacks import build_attack
from acl_tf.config import arguments_of
from acl_tf.data import ORDERS, sources
from acl_tf.data.image_set import ImageSet
from acl_tf.data.orders import Order
from acl_tf.errors import UsageError
from acl_tf.horizon import Horizon
from acl_tf.model_folder.write import TrainedModel, write_model_folder
from acl_tf.plugins import Plugin
from acl_tf.pretrain import OBJECTIVES
from acl_tf.pretrain.config import PretrainConfig
from acl_tf.pretrain.objective import Objective
from acl_tf.training import OPTIMIZERS
from acl_tf.training.fit import check_parallelism, fit
from acl_tf.training.numerics import set_numerics
from acl_tf.training.run import open_run
from acl_tf.training.schedules import EpochWarmupCosine, WarmupCosine
from acl_tf.training.workers import Workers

logger = logging.getLogger(__name__)


def pretrain(
    config: PretrainConfig,
    output: Path,
    resume: bool = False,
    workers: Workers | None = None,
    plugins: Sequence[Plugin] = (),
) -> Path:
    """Pre-trains an encoder and leaves a run folder.

    Args:
        config: Configuration of the run.
        output: The run folder, which the chief writes.
        resume: Whether a run that is there goes on; where there is none, it starts.
        workers: Processes that share each batch; None: this process, on one device.
        plugins: Plug-ins that were loaded.

    Returns:
        The model folder.

    Raises:
        AclTfError: If anything about the configuration, the images, the folder or the workers is wrong, or if training
            fails.
    """
    with open_run(config, output, resume, workers, plugins) as run:
        with run.preparing() as same:
            images = sources.load(config.data)
            same["images"] = images.fingerprint()
            _check_batch_size(images, config)
            _check_parallelism(config, run.workers)
        set_numerics(config.training)
        with run.workers.watched(), run.workers.strategy.scope():
            order = build_order(config, len(images))
            objective = build_objective(config, images.image_shape, order.horizon)
            objective.compile(optimizer=build_optimizer(config.optimizer, order.horizon))
        logger.info("%d images of %s, %s", len(images), images.name, images.split)
        about = {"architecture": config.model.described(), "data set": images.fingerprint()}
        fit(run, objective, images.images, order, about)
        if run.workers.is_chief and not run.folder.model.exists():  # it may hold records by now
            write_model_folder(run.folder.model, trained_model(config, objective))
    return run.folder.model


def build_order(config: PretrainConfig, images: int) -> Order:
    """Builds the order in which a run takes its images.

    Args:
        config: Configuration of the run.
        images: Number of images.
    """
    order, training = ORDERS[config.order.name], config.training
    own = arguments_of(order, config.order)
    return order(images, training.batch_size, training.epochs, training.seed, **own)


def build_objective(
    config: PretrainConfig, image_shape: tuple[int, int, int], horizon: Horizon | None = None
) -> Objective:
    """Builds networks, augmentation and attack, and the objective that joins them.

    Args:
        config: Configuration of the run.
        image_shape: Height, width and channels of the images.
        horizon: Length of the training; None: not known.

    Raises:
        UsageError: If the images are not square and the configuration names no size.
    """
    height, width, channels = image_shape
    if height != width and config.data.image_size is None:
        raise UsageError(
            f"Encoders take square images; set their size by --set data.image_size={min(height, width)}. "
            f"Received: {width}x{height}"
        )
    size = config.data.image_size or height
    method = OBJECTIVES[config.objective.variant]
    networks = method.networks(config.objective, config.model, (size, size, channels))
    return method(
        *networks,
        augmentation=config.augmentation.build(size),
        attack=build_attack(config.attack) if config.attack else None,
        horizon=horizon,
        seed=config.training.seed,
        micro_batches=config.training.micro_batches,
        **arguments_of(method, config.objective),
    )


def build_optimizer(settings: Any, horizon: Horizon) -> keras.optimizers.Optimizer:
    """Builds the optimiser with warm-up and cosine.

    Args:
        settings: Section `optimizer` of the configuration.
        horizon: Length of the run.

    Raises:
        UsageError: If the warm-up does not end before the training.
    """
    warmup = min(10.0, 0.1 * horizon.epochs) if settings.warmup_epochs is None else settings.warmup_epochs
    if warmup >= horizon.epochs:
        raise UsageError(f"optimizer.warmup_epochs must be less than the {horizon.epochs} epochs. Received: {warmup}")
    optimizer = OPTIMIZERS[settings.name]
    return optimizer(_schedule(settings, horizon, warmup), **arguments_of(optimizer, settings))


def _schedule(settings: Any, horizon: Horizon, warmup: float) -> keras.optimizers.schedules.LearningRateSchedule:
    ends = {"floor": settings.final_learning_rate, "start": settings.warmup_from}
    if settings.rate_per == "epoch":
        if warmup != round(warmup):
            raise UsageError(f"optimizer.warmup_epochs must be whole where the rate is per epoch. Received: {warmup}")
        cosine = settings.cosine_epochs
        return EpochWarmupCosine(
            settings.learning_rate, horizon.ends.tolist(), round(warmup), cosine_epochs=cosine, **ends
        )
    if settings.cosine_epochs is not None:
        raise UsageError(
            f"optimizer.cosine_epochs is for optimizer.rate_per=epoch only. Received: {settings.cosine_epochs}"
        )
    warmup_steps = min(round(horizon.steps_of(warmup)), horizon.steps - 1)
    return WarmupCosine(settings.learning_rate, horizon.steps, warmup_steps, **ends)


def trained_model(config: PretrainConfig, objective: Objective) -> TrainedModel:
    """Returns what the model folder of a pre-training is made of."""
    networks = objective.published()
    return TrainedModel(
        encoder=networks.encoder,
        projection_head=networks.projection_head,
        branch=objective.default_branch,
        recipe=config.model_dump(mode="json"),
        attacked=objective.attacks,
    )


def _check_batch_size(images: ImageSet, config: PretrainConfig) -> None:
    if config.training.batch_size > len(images):
        raise UsageError(
            f"The batch size must not exceed the number of images, {len(images)}; lower --batch-size. "
            f"Received: {config.training.batch_size}"
        )


def _check_parallelism(config: PretrainConfig, workers: Workers) -> None:
    check_parallelism(config.training, config.training.batch_size, workers)
    if config.training.micro_batches > 1 and workers.replicas > 1:
        raise UsageError(
            f"--micro-batches work on one device; leave them out, or take --strategy none. "
            f"Received: {config.training.micro_batches} micro-batches on {workers.replicas} replicas"
        )
