"""ACL's three-step routine for few labels, as `acl-tf semi-supervised` runs it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from acl_tf.config import build
from acl_tf.data.image_set import ImageSet
from acl_tf.data.orders import Order
from acl_tf.data.splits import fingerprint_with_labels, label_subset, labels_of
from acl_tf.errors import UsageError
from acl_tf.finetune.base import FineTuner
from acl_tf.finetune.config import BallConfig, FinetuneConfig
from acl_tf.finetune.inputs import StartingEncoder, check_encoder, load_images, load_inputs
from acl_tf.finetune.mixed_batches import MixedBatches
from acl_tf.finetune.pseudo_labelled import UNLABELLED, SemiSupervisedTargets
from acl_tf.finetune.pseudo_labels import pseudo_label_records, pseudo_labels
from acl_tf.finetune.run import build_sgd, build_tuner, train, train_classifier
from acl_tf.finetune.semi_supervised_config import SemiSupervisedConfig, student_class
from acl_tf.plugins import Plugin
from acl_tf.records import add_records
from acl_tf.training.fit import check_parallelism
from acl_tf.training.numerics import set_numerics
from acl_tf.training.run import Run, open_run
from acl_tf.training.run_folder import RunFolder
from acl_tf.training.workers import Workers

logger = logging.getLogger(__name__)

TEACHER = "teacher"
PSEUDO_LABELS = "pseudo_labels.npz"


class Prepared(NamedTuple):
    """The images and their order, prepared before the teacher is trained.

    Attributes:
        images: Images to train on, and images to validate on.
        labelled: Rows of the training images whose labels are known.
        order: Order in which the training images form the batches of the student's steps.
    """

    images: tuple[ImageSet, ImageSet]
    labelled: np.ndarray
    order: Order


def semi_supervised(
    config: SemiSupervisedConfig,
    output: Path,
    resume: bool = False,
    workers: Workers | None = None,
    plugins: Sequence[Plugin] = (),
) -> Path:
    """Trains a robust classifier with few labels, and writes a run folder.

    A teacher learns the labels (in `teacher/`, which is a run folder itself). Its soft pseudo-labels of all images are
    stored (`pseudo_labels.npz`). A student, which starts from the same encoder, learns labels and pseudo-labels under
    attack.

    Args:
        config: Configuration of the run.
        output: The run folder; only the chief writes to it.
        resume: Whether to continue an existing run; if there is none, a new one starts.
        workers: Processes that share each batch; None: this process, on one device.
        plugins: Plug-ins that were loaded, which the run folder records.

    Returns:
        The model folder of the student's best epoch.

    Raises:
        AclTfError: If the configuration, encoder, images, folder or workers are wrong, or if training fails.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 2.2.1.
    """
    with open_run(config, output, resume, workers, plugins) as run:
        with run.preparing() as same:
            prepared = prepare(config, run.workers)
            same["images"] = [check_encoder(config.encoder), fingerprint_with_labels(prepared.images[0])]
        train_teacher(run)
        train_student(run, prepared)
    return run.folder.model


def prepare(config: SemiSupervisedConfig, workers: Workers) -> Prepared:
    """Loads the images, and checks them before anything is trained.

    Args:
        config: Configuration of the run.
        workers: Processes that share each batch.

    Raises:
        UsageError: If no image is left without a label, if a class has none, or if the replicas cannot share a batch.
        DataError: If the images are missing, unreadable or without labels.
    """
    images = load_images(config.data)
    count, training = len(images[0]), config.training
    labelled = label_subset(images[0], config.data.labels, training.seed)
    if len(labelled) == count:
        raise UsageError(f"No image is left without a label; ask for fewer --labels. Received: {config.data.labels}")
    sizes = config.distillation.batch_sizes(len(labelled), count - len(labelled))
    check_parallelism(training, sum(sizes), workers)
    return Prepared(images, labelled, MixedBatches(count, labelled, sizes, training.epochs, training.seed))


def train_teacher(run: Run) -> None:
    """Trains the teacher on the labelled images, in a run folder inside the run's folder.

    Args:
        run: The run, whose folder is open.
    """
    # An existing teacher belongs to this run only if its configuration is the same; resuming compares the two.
    finished = RunFolder(run.folder.path / TEACHER).model.exists()
    if not finished:
        logger.info("Teacher: standard training on the labelled images")
    with run.part(TEACHER, teacher_config(run.config), run.resume or finished) as teacher:
        train(teacher)


def teacher_config(config: SemiSupervisedConfig) -> FinetuneConfig:
    """Returns the configuration of the teacher's training; a baseline's teacher is not pre-trained either."""
    teacher = config.teacher
    training = {**config.training.model_dump(), "epochs": teacher.epochs, "batch_size": teacher.batch_size}
    settings = {
        "encoder": {**config.encoder.model_dump(), "branch": teacher.branch},
        "data": config.data.model_dump(),
        "augmentation": config.augmentation.model_dump(),
        "method": {"name": "standard"},
        "attack": BallConfig.of(config.attack).model_dump(),
        "optimizer": teacher.optimizer.model_dump(),
        "training": training,
        "validation": {**config.validation.model_dump(), "every": teacher.epochs},
    }
    return build(FinetuneConfig, settings)


def train_student(run: Run, prepared: Prepared) -> None:
    """Trains the student on labels and pseudo-labels, and writes its model folders.

    Args:
        run: The run, whose folder is open and holds the teacher.
        prepared: Images and order.
    """
    config, workers = run.config, run.workers
    images, labelled, order = prepared
    set_numerics(config.training)
    with workers.watched(), workers.strategy.scope():
        inputs = load_inputs(config.encoder, *images)
        student = build_student(config, inputs.start, len(inputs.train.classes))
        student.compile(optimizer=build_sgd(config.optimizer, order.horizon))
    (soft_logits,) = workers.from_chief(lambda: [teach(config, run.folder, inputs.train, labelled)])
    logger.info("Student: %d labelled and %d unlabelled images", len(labelled), len(inputs.train) - len(labelled))
    train_classifier(run, student, inputs, student_data(inputs.train, labelled, soft_logits), order)


def teach(config: SemiSupervisedConfig, folder: RunFolder, images: ImageSet, labelled: np.ndarray) -> np.ndarray:
    """Returns the teacher's soft pseudo-labels, and records their accuracy.

    Args:
        config: Configuration of the run.
        folder: The run folder, with the teacher.
        images: All training images.
        labelled: Rows of the images whose labels are known.

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
    """Builds the student, which learns from the pseudo-labels: ACL's distillation, or the baseline.

    Args:
        config: Configuration of the run.
        start: The encoder.
        num_classes: Number of classes.
    """
    return build_tuner(student_class(config.baseline), config.distillation, config, start, num_classes)


def student_data(
    images: ImageSet, labelled: np.ndarray, soft_logits: np.ndarray
) -> tuple[np.ndarray, SemiSupervisedTargets]:
    """Returns the student's training data: all images, the known labels, and the pseudo-labels.

    Args:
        images: All training images.
        labelled: Rows of the images whose labels are known; other labels are not used.
        soft_logits: Logits of the teacher, of shape `(n, classes)`.
    """
    known = np.full(len(images), UNLABELLED, np.int64)
    known[labelled] = labels_of(images)[labelled]
    return images.images, SemiSupervisedTargets(known, soft_logits)
