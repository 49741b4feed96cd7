"""From a classifier to its records: what `acl-tf evaluate` does."""

import functools
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from acl_tf.data import sources
from acl_tf.data.corrupted import check_corrupted_folder, load_corrupted_folder, load_corrupted_tfds
from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import labels_of
from acl_tf.errors import DataError
from acl_tf.evaluate import clean, corruptions, robust
from acl_tf.evaluate.base import Evaluation
from acl_tf.evaluate.config import EvaluateConfig
from acl_tf.evaluate.models import LoadedClassifier, load_classifier
from acl_tf.evaluate.progress import EvaluationProgress
from acl_tf.evaluate.record import Record
from acl_tf.evaluate.worst_case import worst_case
from acl_tf.model_folder import add_to_model_folder
from acl_tf.records import RECORDS, add_records
from acl_tf.training.interruption import Interruption

logger = logging.getLogger(__name__)
TFDS = "tfds"


def evaluate(config: EvaluateConfig, output: Path, resume: bool = False) -> list[Record]:
    """Measures a classifier and adds the records to its folder.

    Args:
        config: What to measure.
        output: Folder for the records, and for what an interrupted evaluation has done.
        resume: Whether that is taken up again.

    Returns:
        The records, in the order in which they were measured.

    Raises:
        AclTfError: If anything about model, images or attacks is wrong.
        Interrupted: If a signal asked for an end.
    """
    attacks = config.parsed_attacks()
    if config.corruptions not in (None, TFDS):
        check_corrupted_folder(Path(config.corruptions).expanduser())
    state = output / "state"
    if not resume:
        shutil.rmtree(state, ignore_errors=True)
    model = load_classifier(config.model)
    surrogate = load_classifier(config.surrogate) if config.surrogate else None
    images = load_images(config, model) if attacks else None
    records = []
    with Interruption() as interruption, EvaluationProgress() as progress:
        evaluation = Evaluation(
            images,
            config.seed,
            config.batch_size,
            model.sha256,
            state=state,
            interruption=interruption,
            progress=progress,
        )
        for record in measurements(config, evaluation, model, surrogate):
            records.append(record)
            keep(record, model, output)
    shutil.rmtree(state, ignore_errors=True)
    return records


def measurements(
    config: EvaluateConfig, evaluation: Evaluation, model: LoadedClassifier, surrogate: LoadedClassifier | None
) -> Iterator[Record]:
    """Yields the records that a configuration asks for, as they are measured.

    Args:
        config: What to measure.
        evaluation: Images, seed, batch size.
        model: That is evaluated.
        surrogate: On which attacks are crafted; None: on `model`.
    """
    attacked = []
    for name, settings in config.parsed_attacks():
        if settings is None:
            yield clean.measure(evaluation, model.logits)[0]
            continue
        crafted_on = surrogate or model
        about = {"surrogate_sha256": surrogate.sha256} if surrogate else {}
        attacked.append(robust.measure(evaluation.about(about), model.logits, name, settings, crafted_on.logits))
        yield attacked[-1][0]
    if len(attacked) > 1:
        yield worst_case(attacked)
    if config.corruptions:
        load = functools.partial(load_corrupted, config, model)
        yield from corruptions.run(evaluation, model.logits, load)


def load_images(config: EvaluateConfig, model: LoadedClassifier) -> ImageSet:
    """Loads the images to evaluate on, at the size that the model takes.

    Raises:
        UsageError: If there is no such data set, or its classes are not as many as the model's.
        DataError: If the images are missing, unreadable or without labels.
    """
    images = sources.load(config.data)
    labels_of(images)
    model.check(images)
    return images.resized(model.image_size)


def load_corrupted(config: EvaluateConfig, model: LoadedClassifier, corruption: str, severity: int) -> ImageSet:
    """Loads one corruption at one severity.

    Raises:
        DataError: If the images are missing, damaged, or of another size than the model takes.
    """
    if config.corruptions == TFDS:
        images = load_corrupted_tfds(corruption, severity, config.data.data_dir, config.data.limit)
    else:
        folder = Path(config.corruptions).expanduser()
        images = load_corrupted_folder(folder, corruption, severity, model.classes, config.data.limit)
    model.check(images)
    height, width, _ = images.image_shape
    if not height == width == model.image_size:
        raise DataError(
            f"The model takes images of {model.image_size}x{model.image_size} pixels. "
            f"Received: {width}x{height} in {images.name}, {corruption}"
        )
    return images


def keep(record: Record, model: LoadedClassifier, output: Path) -> None:
    """Adds a record to the output folder and, where there is one, to the model folder."""
    output.mkdir(parents=True, exist_ok=True)
    add_records(output / RECORDS, [record])
    if model.folder:
        try:
            add_to_model_folder(model.folder, [record])
        except PermissionError as error:
            logger.warning("The model folder cannot be written to (%s); records are in %s", error, output / RECORDS)
