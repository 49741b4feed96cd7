"""ACL's three-step routine for few labels: what `acl-tf semi-supervised` does."""

import contextlib
import functools
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from acl_tf.attacks.pgd import PGD
from acl_tf.data.batches import batch_rows, steps_per_epoch
from acl_tf.data.crop_flip import CropFlip
from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import fingerprint_with_labels, label_subset, labels_of
from acl_tf.errors import UsageError
from acl_tf.finetune.base import FineTuner
from acl_tf.finetune.config import (
    EncoderConfig,
    FinetuneConfig,
    FinetuneTrainingConfig,
    LabelledDataConfig,
    MethodConfig,
)
from acl_tf.finetune.distillation import Distillation
from acl_tf.finetune.inputs import StartingEncoder, check_encoder, load_images, load_inputs
from acl_tf.finetune.pseudo_labelled import UNLABELLED, SemiSupervisedTargets
from acl_tf.finetune.pseudo_labels import pseudo_label_records, pseudo_labels
from acl_tf.finetune.run import build_sgd, finetune, train_classifier
from acl_tf.finetune.semi_supervised_config import SemiSupervisedConfig
from acl_tf.finetune.uat import UATPlusPlus
from acl_tf.records import add_records
from acl_tf.training.fit import check_parallelism
from acl_tf.training.interruption import Interruption
from acl_tf.training.numerics import set_numerics
from acl_tf.training.run_folder import RunFolder
from acl_tf.training.workers import Workers

logger = logging.getLogger(__name__)

TEACHER = "teacher"
PSEUDO_LABELS = "pseudo_labels.npz"


def semi_supervised(
    config: SemiSupervisedConfig, output: Path, resume: bool = False, workers: Workers | None = None
) -> Path:
    """Trains a robust classifier with few labels, and leaves a run folder.

    A teacher learns the labels (`teacher/`, a run folder of its own); its soft pseudo-labels of all images are stored
    (`pseudo_labels.npz`); a student, which begins at the same encoder, learns both under attack.

    Args:
        config: Of the run.
        output: The run folder, which the chief writes.
        resume: Whether a run that is there goes on; where there is none, it starts.
        workers: That share each batch; None: this process, on one device.

    Returns:
        The model folder of the student's best epoch.

    Raises:
        AclTfError: If anything about the configuration, encoder, images, folder or workers is wrong, or if training
            fails.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 2.2.1.
    """
    workers = workers or Workers()
    folder = RunFolder(output)
    with contextlib.ExitStack() as stack:
        with workers.agreement(config):
            if workers.is_chief:
                stack.enter_context(folder.session(config, resume, **workers.described()))
            check_labels(config)
        # One that is there is the teacher of this run only if it is of the same configuration: resuming compares.
        finished = RunFolder(output / TEACHER).model.exists()
        if not finished:
            logger.info("Teacher: standard training on the labelled images")
        finetune(teacher_config(config), output / TEACHER, resume or finished, workers)
        with Interruption() as interruption:
            train_student(config, folder, interruption, workers)
        workers.wait()
    return folder.model


def check_labels(config: SemiSupervisedConfig) -> None:
    """Finds out whether images are left without a label before a teacher is trained.

    Args:
        config: Of the run.

    Raises:
        UsageError: If none are left, or if a class has no label.
        DataError: If the images are missing, unreadable or without labels.
    """
    images, _ = load_images(config.data)
    if len(label_subset(images, config.data.labels, config.training.seed)) == len(images):
        raise UsageError(f"No image is left without a label; ask for fewer --labels. Received: {config.data.labels}")


def teacher_config(config: SemiSupervisedConfig) -> FinetuneConfig:
    """Returns the fine-tuning run that makes the teacher; a baseline's teacher is not pre-trained either."""
    teacher = config.teacher
    training = {**config.training.model_dump(), "epochs": teacher.epochs, "batch_size": teacher.batch_size}
    return FinetuneConfig(
        encoder=EncoderConfig(**{**config.encoder.model_dump(), "branch": teacher.branch}),
        data=LabelledDataConfig(**config.data.model_dump()),
        augmentation=config.augmentation,
        method=MethodConfig(name="standard"),
        attack=config.attack,
        optimizer=teacher.optimizer,
        training=FinetuneTrainingConfig(**training),
        validation=config.validation.model_copy(update={"every": teacher.epochs}),
    )


def train_student(
    config: SemiSupervisedConfig, folder: RunFolder, interruption: Interruption, workers: Workers
) -> None:
    """Trains the student on labels and pseudo-labels, and writes its model folders.

    Args:
        config: Of the run.
        folder: The run folder; the chief's is in session.
        interruption: Whether the user wants an end.
        workers: That share each batch.
    """
    with workers.agreement(config) as same:
        images = load_images(config.data)
        same["images"] = [check_encoder(config.encoder), fingerprint_with_labels(images[0])]
        labelled = label_subset(images[0], config.data.labels, config.training.seed)
        sizes = config.distillation.batch_sizes(len(labelled), len(images[0]) - len(labelled))
        check_parallelism(config.training, sum(sizes), workers)
    set_numerics(config.training)
    per_epoch = steps_per_epoch(len(images[0]) - len(labelled), sizes[1])
    with workers.watched(), workers.strategy.scope():
        inputs = load_inputs(config.encoder, *images)
        student = build_student(config, inputs.start, len(inputs.train.classes))
        student.compile(optimizer=build_sgd(config.optimizer, config.training.epochs, per_epoch))
    (soft_logits,) = workers.from_chief(lambda: [teach(config, folder, inputs.train, labelled)])
    logger.info("Student: %d labelled and %d unlabelled images", len(labelled), len(inputs.train) - len(labelled))
    train_classifier(
        config,
        student,
        inputs,
        per_epoch,
        student_data(inputs.train, labelled, soft_logits),
        functools.partial(student_rows, labelled, len(inputs.train), sizes, config.training.seed),
        inputs.train.fingerprint(),
        folder,
        interruption,
        workers,
    )


def teach(config: SemiSupervisedConfig, folder: RunFolder, images: ImageSet, labelled: np.ndarray) -> np.ndarray:
    """Returns the teacher's soft pseudo-labels, having recorded how many are right.

    Args:
        config: Of the run.
        folder: The run folder, with the teacher.
        images: All training images.
        labelled: Rows of those whose labels are known.

    Returns:
        Logits, float32 of shape `(n, classes)`.
    """
    teacher = RunFolder(folder.path / TEACHER).model_last
    soft_logits = pseudo_labels(teacher, images, folder.path / PSEUDO_LABELS)
    records = pseudo_label_records(soft_logits, images, labelled, teacher, config.training.seed)
    add_records(folder.records, records)
    logger.info("Pseudo-labels: %.2f %% of %d images are right", 100 * records[0]["value"], records[0]["n"])
    return soft_logits


def build_student(config: SemiSupervisedConfig, start: StartingEncoder, num_classes: int) -> FineTuner:
    """Builds what learns from the pseudo-labels: ACL's distillation, or the baseline.

    Args:
        config: Of the run.
        start: The encoder.
        num_classes: Number of classes.
    """
    settings = config.distillation
    student: type[FineTuner] = UATPlusPlus if config.baseline else Distillation
    if config.baseline:
        own = {"online_weight": settings.online_weight}
    else:
        own = {"alpha": settings.alpha, "temperature": settings.temperature, "beta": settings.beta}
    return student(
        start.encoder,
        num_classes,
        branch=config.encoder.branch or start.default_branch,
        augmentation=CropFlip(**config.augmentation.model_dump()),
        attack=PGD(**config.attack.model_dump(), start=student.attack_start),
        seed=config.training.seed,
        **own,
    )


def student_data(
    images: ImageSet, labelled: np.ndarray, soft_logits: np.ndarray
) -> tuple[np.ndarray, SemiSupervisedTargets]:
    """Returns what the student sees: all images, the labels that are known, and the pseudo-labels.

    Args:
        images: All training images.
        labelled: Rows of those whose labels are known; the others' labels are not looked at.
        soft_logits: Of the teacher, of shape `(n, classes)`.
    """
    known = np.full(len(images), UNLABELLED, np.int64)
    known[labelled] = labels_of(images)[labelled]
    return images.images, SemiSupervisedTargets(known, soft_logits)


def student_rows(
    labelled: np.ndarray, images: int, sizes: tuple[int, int], seed: int, first: int, last: int
) -> Iterator[np.ndarray]:
    """Yields the rows of each batch: so many labelled images, then so many unlabelled ones.

    Args:
        labelled: Rows of the labelled images.
        images: How many images there are.
        sizes: How many labelled and unlabelled images a batch has.
        seed: Of the run.
        first: The first step.
        last: Where to stop; not yielded.
    """
    unlabelled = np.setdiff1d(np.arange(images), labelled)
    parts = [batch_rows(len(rows), size, seed, first, last) for rows, size in zip((labelled, unlabelled), sizes)]
    for of_labelled, of_unlabelled in zip(*parts, strict=True):
        yield np.concatenate([labelled[of_labelled], unlabelled[of_unlabelled]])
