"""From a configuration to a run folder: what `acl-tf pretrain` does."""

import contextlib
import functools
import logging
from pathlib import Path
from typing import Any

import keras

from acl_tf.attacks.pgd import PGD
from acl_tf.data import sources
from acl_tf.data.augment import Augmentation
from acl_tf.data.batches import batch_rows, steps_per_epoch
from acl_tf.data.image_set import ImageSet
from acl_tf.errors import UsageError
from acl_tf.model_folder.write import TrainedModel, write_model_folder
from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import ProjectionHead
from acl_tf.pretrain import OBJECTIVES
from acl_tf.pretrain.base import ContrastiveObjective
from acl_tf.pretrain.config import PretrainConfig
from acl_tf.training import OPTIMIZERS
from acl_tf.training.config import OptimizerConfig
from acl_tf.training.fit import check_parallelism, fit
from acl_tf.training.interruption import Interruption
from acl_tf.training.numerics import set_numerics
from acl_tf.training.run_folder import RunFolder
from acl_tf.training.schedules import WarmupCosine
from acl_tf.training.workers import Workers

logger = logging.getLogger(__name__)


def pretrain(config: PretrainConfig, output: Path, resume: bool = False, workers: Workers | None = None) -> Path:
    """Pre-trains an encoder and leaves a run folder.

    Args:
        config: Of the run.
        output: The run folder, which the chief writes.
        resume: Whether a run that is there goes on; where there is none, it starts.
        workers: That share each batch; None: this process, on one device.

    Returns:
        The model folder.

    Raises:
        AclTfError: If anything about the configuration, the images, the folder or the workers is wrong, or if training
            fails.
    """
    workers = workers or Workers()
    folder = RunFolder(output)
    with contextlib.ExitStack() as stack:
        interruption = stack.enter_context(Interruption())
        with workers.agreement(config) as same:
            if workers.is_chief:
                stack.enter_context(folder.session(config, resume, **workers.described()))
            images = sources.load(config.data)
            same["images"] = images.fingerprint()
            per_epoch = _steps_per_epoch(images, config)
            _check_parallelism(config, workers)
        set_numerics(config.training)
        with workers.watched(), workers.strategy.scope():
            objective = build_objective(config, images.image_shape)
            objective.compile(optimizer=build_optimizer(config.optimizer, config.training.epochs, per_epoch))
        logger.info("%d images of %s, %s", len(images), images.name, images.split)
        about = {"architecture": config.model.model_dump(mode="json"), "data set": images.fingerprint()}
        rows = functools.partial(batch_rows, len(images), config.training.batch_size, config.training.seed)
        fit(objective, config.training, per_epoch, images.images, rows, folder, about, interruption, workers)
        if workers.is_chief and not folder.model.exists():  # it may hold records by now
            write_model_folder(
                folder.model,
                TrainedModel(
                    encoder=objective.encoder,
                    projection_head=objective.projection_head,
                    branch=objective.default_branch,
                    recipe=config.model_dump(mode="json"),
                ),
            )
        workers.wait()
    return folder.model


def build_objective(config: PretrainConfig, image_shape: tuple[int, int, int]) -> ContrastiveObjective:
    """Builds encoder, projection head, augmentation and attack, and the objective that joins them.

    Args:
        config: Of the run.
        image_shape: Height, width and channels of the images.

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
    encoder = Encoder(
        config.model.arch,
        width=config.model.width,
        stem=config.model.stem,
        image_shape=(size, size, channels),
        batch_norm=config.model.batch_norm,
        synchronized=True,
    )
    head = ProjectionHead(
        encoder.feature_dim,
        blocks=config.model.projection_blocks,
        batch_norm=config.model.batch_norm,
        synchronized=True,
    )
    alpha = {"alpha": config.objective.alpha} if config.objective.variant == "ds" else {}
    return OBJECTIVES[config.objective.variant](
        encoder,
        head,
        augmentation=Augmentation(image_size=size, **config.augmentation.model_dump()),
        attack=PGD(config.attack.epsilon, config.attack.step_size, config.attack.steps),
        temperature=config.objective.temperature,
        seed=config.training.seed,
        micro_batches=config.training.micro_batches,
        **alpha,
    )


def build_optimizer(config: OptimizerConfig, epochs: int, per_epoch: int) -> keras.optimizers.Optimizer:
    """Builds the optimiser with per-step warm-up and cosine.

    Args:
        config: Of the optimiser.
        epochs: Length of the run.
        per_epoch: Steps in an epoch.
    """
    warmup = min(10.0, 0.1 * epochs) if config.warmup_epochs is None else config.warmup_epochs
    if warmup >= epochs:
        raise UsageError(f"optimizer.warmup_epochs must be less than the {epochs} epochs. Received: {warmup}")
    schedule = WarmupCosine(
        config.learning_rate,
        total_steps=epochs * per_epoch,
        warmup_steps=min(round(warmup * per_epoch), epochs * per_epoch - 1),
        floor=config.final_learning_rate,
    )
    settings: dict[str, dict[str, Any]] = {
        "lars": {
            "momentum": config.momentum,
            "trust_coefficient": config.trust_coefficient,
            "exclude": config.exclude,
        },
        "sgd": {"momentum": config.momentum},
    }
    own = settings.get(config.name, {})
    return OPTIMIZERS[config.name](schedule, weight_decay=config.weight_decay, **own)


def _steps_per_epoch(images: ImageSet, config: PretrainConfig) -> int:
    if config.training.batch_size > len(images):
        raise UsageError(
            f"The batch size must not exceed the number of images, {len(images)}; lower --batch-size. "
            f"Received: {config.training.batch_size}"
        )
    return steps_per_epoch(len(images), config.training.batch_size)


def _check_parallelism(config: PretrainConfig, workers: Workers) -> None:
    check_parallelism(config.training, config.training.batch_size, workers)
    if config.training.micro_batches > 1 and workers.replicas > 1:
        raise UsageError(
            f"--micro-batches work on one device; leave them out, or take --strategy none. "
            f"Received: {config.training.micro_batches} micro-batches on {workers.replicas} replicas"
        )
