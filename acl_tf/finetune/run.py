"""The training of a classifier on an encoder, as `acl-tf finetune` runs it."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from acl_tf.attacks import build_attack
from acl_tf.config import Section, arguments_of
from acl_tf.data.crop_flip import CropFlip
from acl_tf.data.orders import Order, Shuffled
from acl_tf.data.splits import fingerprint_with_labels, label_subset, labels_of, take
from acl_tf.finetune import METHODS
from acl_tf.finetune.base import FineTuner
from acl_tf.finetune.config import BallConfig, FinetuneConfig, StepwiseSGDConfig
from acl_tf.finetune.inputs import Inputs, StartingEncoder, check_encoder, load_images, load_inputs
from acl_tf.finetune.linear_probe import freeze
from acl_tf.finetune.validation import Validation
from acl_tf.horizon import Horizon
from acl_tf.model_folder.write import TrainedModel, published_model, write_model_folder
from acl_tf.plugins import Plugin
from acl_tf.records import RECORDS, add_records, read_file
from acl_tf.training.fit import check_parallelism, fit
from acl_tf.training.numerics import set_numerics
from acl_tf.training.run import Run, open_run
from acl_tf.training.run_folder import RunFolder
from acl_tf.training.selection import Selection
from acl_tf.training.sgd import SGD
from acl_tf.training.steps import Data
from acl_tf.training.workers import Workers

logger = logging.getLogger(__name__)


def finetune(
    config: FinetuneConfig,
    output: Path,
    resume: bool = False,
    workers: Workers | None = None,
    plugins: Sequence[Plugin] = (),
) -> Path:
    """Trains a classifier on an encoder, and writes a run folder.

    `model/` holds the model of the epoch with the best robust accuracy on the validation split, `model_last/` that of
    the last epoch.

    Args:
        config: Configuration of the run.
        output: The run folder; only the chief writes to it.
        resume: Whether to continue an existing run; if there is none, a new one starts.
        workers: Processes that share each batch; None: this process, on one device.
        plugins: Plug-ins that were loaded, which the run folder records.

    Returns:
        The model folder of the best epoch.

    Raises:
        AclTfError: If the configuration, encoder, images, folder or workers are wrong, or if training fails.
    """
    with open_run(config, output, resume, workers, plugins) as run:
        train(run)
    return run.folder.model


def train(run: Run) -> None:
    """Trains the classifier of an open run; see `finetune`.

    Args:
        run: The run, whose configuration is a `FinetuneConfig`.
    """
    config, workers = run.config, run.workers
    with run.preparing() as same:
        images = load_images(config.data)
        rows = label_subset(images[0], config.data.labels, config.training.seed)
        same["images"] = [check_encoder(config.encoder), fingerprint_with_labels(images[0])]
        batch_size = min(config.training.batch_size, len(rows))
        check_parallelism(config.training, batch_size, workers)
    set_numerics(config.training)
    order = Shuffled(len(rows), batch_size, config.training.epochs, config.training.seed)
    with workers.watched(), workers.strategy.scope():
        inputs = load_inputs(config.encoder, *images)
        inputs = replace(inputs, train=take(inputs.train, rows))
        tuner = build_finetuner(config, inputs.start, len(inputs.train.classes))
        tuner.compile(optimizer=build_sgd(config.optimizer, order.horizon))
    labelled = inputs.train
    logger.info("%d labelled images, %d steps of %d an epoch", len(labelled), order.horizon.lengths[0], batch_size)
    train_classifier(run, tuner, inputs, (labelled.images, labels_of(labelled)), order)


def train_classifier(run: Run, tuner: FineTuner, inputs: Inputs, data: Data, order: Order) -> None:
    """Trains a classifier, validates it after every epoch, and writes its model folders.

    Args:
        run: The run, whose folder is open.
        tuner: The classifier, compiled in the scope of the workers' strategy.
        inputs: Encoder and images.
        data: Arrays of the training images and targets, nested as the tuner's `train_step` takes them.
        order: Order in which rows of `data` form the batches of the steps.
    """
    config, selection = run.config, Selection(tuner.variables)
    validation = Validation(
        tuner,
        inputs.validation,
        config.validation,
        BallConfig.of(config.attack),
        config.training,
        selection,
        run.workers,
        tuner.smoothing_sigma,
    )
    about = {"encoder": inputs.start.about(), "data set": inputs.train.fingerprint()}
    fit(run, tuner, data, order, about, validation, selection=selection)
    if run.workers.is_chief:
        recipe = {**config.model_dump(mode="json"), "encoder_sha256": inputs.start.sha256}
        write_classifiers(run.folder, tuner, inputs.train.classes, recipe, validation)


def build_finetuner(config: FinetuneConfig, start: StartingEncoder, num_classes: int) -> FineTuner:
    """Builds the classifier that a method trains; in linear mode the encoder is frozen.

    Args:
        config: Configuration of the run.
        start: The encoder.
        num_classes: Number of classes.
    """
    if config.method.mode == "linear":
        freeze(start.encoder)
    return build_tuner(METHODS[config.method.name], config.method, config, start, num_classes)


def build_tuner(
    method: type[FineTuner], settings: Section, config: Any, start: StartingEncoder, num_classes: int
) -> FineTuner:
    """Builds the classifier that a configuration describes.

    Args:
        method: Class of the classifier.
        settings: Section with the settings of that class.
        config: Configuration of the run.
        start: The encoder.
        num_classes: Number of classes.
    """
    return method(
        start.encoder,
        num_classes,
        branch=config.encoder.branch or start.default_branch,
        augmentation=CropFlip(**config.augmentation.model_dump()),
        attack=build_attack(config.attack) if method.attacks else None,
        seed=config.training.seed,
        **arguments_of(method, settings),
    )


def build_sgd(config: StepwiseSGDConfig, horizon: Horizon) -> SGD:
    """Builds SGD whose learning rate falls after certain epochs.

    Args:
        config: Section of the optimiser.
        horizon: Length of the run.
    """
    at = {max(1, round(share * horizon.epochs)) for share in config.decay_at}
    decays = sorted(at if config.decay_epochs is None else config.decay_epochs)
    if not decays:
        return SGD(config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
    rates = [config.learning_rate * config.decay_factor**power for power in range(len(decays) + 1)]
    # Keras keeps a rate up to and including its boundary. Steps count from 0, so after an epoch of n steps the new rate
    # has to begin at step n, and the boundary is n - 1.
    boundaries = [round(horizon.steps_of(epoch)) - 1 for epoch in decays]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    return SGD(schedule, momentum=config.momentum, weight_decay=config.weight_decay)


def write_classifiers(
    folder: RunFolder, tuner: FineTuner, classes: tuple[str, ...], recipe: dict[str, Any], validation: Validation
) -> None:
    """Writes `model_last/` with the current weights and `model/` with those of the best epoch, and their records.

    Args:
        folder: Folder of the run.
        tuner: The trained classifier.
        classes: Names of the classes.
        recipe: Configuration of the run, and other information on how the classifier was made.
        validation: Validation, which measures the classifier and knows the best epoch.
    """
    if not folder.model.exists():  # an existing folder may have got more records since
        best = validation.selection.best_epoch()
        for path, epoch in ((folder.model_last, validation.epochs), (folder.model, best)):
            if path == folder.model:
                validation.selection.restore()
            trained = TrainedModel(
                encoder=tuner.encoder,
                branch=tuner.branch,
                recipe={**recipe, "epoch": epoch},
                classifier=tuner.classifier,
                classes=classes,
                attacked=tuner.attacks,
            )
            write_model_folder(path, trained, validation.records(published_model(trained), epoch))
        logger.info("Epoch %d of %d is the best", best, validation.epochs)
    add_records(folder.records, read_file(folder.model / RECORDS))
