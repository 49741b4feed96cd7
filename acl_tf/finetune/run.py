"""From an encoder to a classifier: what `acl-tf finetune` does."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from acl_tf.attacks.pgd import PGD
from acl_tf.data.batches import batch_rows, steps_per_epoch
from acl_tf.data.crop_flip import CropFlip
from acl_tf.data.splits import fingerprint_with_labels, label_subset, labels_of, take
from acl_tf.finetune import METHODS
from acl_tf.finetune.base import FineTuner
from acl_tf.finetune.config import FinetuneConfig, StepwiseSGDConfig
from acl_tf.finetune.gaussian import Gaussian
from acl_tf.finetune.inputs import Inputs, StartingEncoder, check_encoder, load_images, load_inputs
from acl_tf.finetune.linear_probe import freeze
from acl_tf.finetune.semi_supervised_config import SemiSupervisedConfig
from acl_tf.finetune.validation import Validation
from acl_tf.model_folder.write import TrainedModel, published_model, write_model_folder
from acl_tf.records import RECORDS, add_records, read_file
from acl_tf.training.fit import check_parallelism, fit
from acl_tf.training.interruption import Interruption
from acl_tf.training.numerics import set_numerics
from acl_tf.training.run_folder import RunFolder
from acl_tf.training.selection import Selection
from acl_tf.training.sgd import SGD
from acl_tf.training.steps import Data
from acl_tf.training.workers import Workers

logger = logging.getLogger(__name__)


def finetune(config: FinetuneConfig, output: Path, resume: bool = False, workers: Workers | None = None) -> Path:
    """Trains a classifier on an encoder and leaves a run folder.

    `model/` holds the epoch of the best robust accuracy on the validation split, `model_last/` the last one.

    Args:
        config: Of the run.
        output: The run folder, which the chief writes.
        resume: Whether a run that is there goes on; where there is none, it starts.
        workers: That share each batch; None: this process, on one device.

    Returns:
        The model folder of the best epoch.

    Raises:
        AclTfError: If anything about the configuration, encoder, images, folder or workers is wrong, or if training
            fails.
    """
    workers = workers or Workers()
    folder = RunFolder(output)
    with contextlib.ExitStack() as stack:
        interruption = stack.enter_context(Interruption())
        with workers.agreement(config) as same:
            if workers.is_chief:
                stack.enter_context(folder.session(config, resume, **workers.described()))
            images = load_images(config.data)
            rows = label_subset(images[0], config.data.labels, config.training.seed)
            same["images"] = [check_encoder(config.encoder), fingerprint_with_labels(images[0])]
            batch_size = min(config.training.batch_size, len(rows))
            check_parallelism(config.training, batch_size, workers)
        set_numerics(config.training)
        per_epoch = steps_per_epoch(len(rows), batch_size)
        with workers.watched(), workers.strategy.scope():
            inputs = load_inputs(config.encoder, *images)
            tuner = build_finetuner(config, inputs.start, len(inputs.train.classes))
            tuner.compile(optimizer=build_sgd(config.optimizer, config.training.epochs, per_epoch))
        labelled = take(inputs.train, rows)
        logger.info("%d labelled images, %d steps of %d an epoch", len(labelled), per_epoch, batch_size)
        train_classifier(
            config,
            tuner,
            inputs,
            per_epoch,
            (labelled.images, labels_of(labelled)),
            functools.partial(batch_rows, len(labelled), batch_size, config.training.seed),
            labelled.fingerprint(),
            folder,
            interruption,
            workers,
        )
        workers.wait()
    return folder.model


def train_classifier(
    config: FinetuneConfig | SemiSupervisedConfig,
    tuner: FineTuner,
    inputs: Inputs,
    per_epoch: int,
    data: Data,
    rows: Callable[[int, int], Iterator[np.ndarray]],
    data_set: dict[str, Any],
    folder: RunFolder,
    interruption: Interruption,
    workers: Workers,
) -> None:
    """Trains a classifier, validates it after every epoch, and writes its model folders.

    Args:
        config: Of the run.
        tuner: Compiled, in the scope of the workers' strategy.
        inputs: Encoder and images.
        per_epoch: Steps in an epoch.
        data: As of `fit`.
        rows: As of `fit`.
        data_set: Fingerprint of the images that are trained on.
        folder: The run folder; the chief's is in session.
        interruption: Whether the user wants an end.
        workers: That share each batch.
    """
    selection = Selection(tuner.variables)
    sigma = tuner.sigma if isinstance(tuner, Gaussian) else None
    validation = Validation(
        tuner, inputs.validation, config.validation, config.attack, config.training, selection, workers, sigma
    )
    about = {"encoder": inputs.start.about(), "data set": data_set}
    fit(
        tuner,
        config.training,
        per_epoch,
        data,
        rows,
        folder,
        about,
        interruption,
        workers,
        validation,
        selection=selection,
    )
    if workers.is_chief:
        recipe = {**config.model_dump(mode="json"), "encoder_sha256": inputs.start.sha256}
        write_classifiers(folder, tuner, inputs.train.classes, recipe, validation)


def build_finetuner(config: FinetuneConfig, start: StartingEncoder, num_classes: int) -> FineTuner:
    """Builds the classifier that a method trains; in linear mode the encoder is frozen.

    Args:
        config: Of the run.
        start: The encoder.
        num_classes: Number of classes.
    """
    method = METHODS[config.method.name]
    own: dict[str, dict[str, Any]] = {
        "trades": {"beta": config.method.beta},
        "gaussian": {"sigma": config.method.sigma},
    }
    return method(
        freeze(start.encoder) if config.method.mode == "linear" else start.encoder,
        num_classes,
        branch=config.encoder.branch or start.default_branch,
        augmentation=CropFlip(**config.augmentation.model_dump()),
        attack=PGD(**config.attack.model_dump(), start=method.attack_start),
        seed=config.training.seed,
        **own.get(config.method.name, {}),
    )


def build_sgd(config: StepwiseSGDConfig, epochs: int, per_epoch: int) -> SGD:
    """Builds SGD whose learning rate falls after certain epochs.

    Args:
        config: Of the optimiser.
        epochs: Length of the run.
        per_epoch: Steps in an epoch.
    """
    at = {max(1, round(share * epochs)) for share in config.decay_at}
    decays = sorted(at if config.decay_epochs is None else config.decay_epochs)
    if not decays:
        return SGD(config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
    rates = [config.learning_rate * config.decay_factor**power for power in range(len(decays) + 1)]
    # Keras keeps a rate up to and including its boundary; the first step after an epoch has the number of its steps.
    boundaries = [epoch * per_epoch - 1 for epoch in decays]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    return SGD(schedule, momentum=config.momentum, weight_decay=config.weight_decay)


def write_classifiers(
    folder: RunFolder, tuner: FineTuner, classes: tuple[str, ...], recipe: dict[str, Any], validation: Validation
) -> None:
    """Writes `model_last/` of the present weights and `model/` of the best epoch, with their validation records.

    Args:
        folder: Of the run.
        tuner: The trained classifier.
        classes: Their names.
        recipe: How it came about.
        validation: Knows the best epoch.
    """
    if not folder.model.exists():  # it may hold more records by now
        best = validation.selection.best_epoch()
        for path, epoch in ((folder.model_last, validation.epochs), (folder.model, best)):
            if path == folder.model:
                validation.selection.restore()
            trained = TrainedModel(
                tuner.encoder, tuner.branch, {**recipe, "epoch": epoch}, classifier=tuner.classifier, classes=classes
            )
            write_model_folder(path, trained, validation.records(published_model(trained), epoch))
        logger.info("Epoch %d of %d is the best", best, validation.epochs)
    add_records(folder.records, read_file(folder.model / RECORDS))
