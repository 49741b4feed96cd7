"""Soft pseudo-labels: a teacher's predictions for all training images, computed once and stored."""

import functools
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import labels_of
from acl_tf.evaluate.record import record
from acl_tf.files import sha256, write_npz_atomically
from acl_tf.model_folder.files import MODEL
from acl_tf.model_folder.read import load_model
from acl_tf.records import Record

BATCH_SIZE = 256


def pseudo_labels(teacher: Path, images: ImageSet, file: Path) -> np.ndarray:
    """Returns the teacher's logits of images without augmentation, read from the file if it contains them.

    Args:
        teacher: Model folder of the teacher.
        images: All training images.
        file: An `.npz` file, which is (re)written unless it belongs to this teacher and these images.

    Returns:
        The logits, float32 of shape `(n, classes)`.
    """
    origin = f"{sha256(teacher / MODEL)} {images.fingerprint()}"
    if file.exists():
        with np.load(file) as stored:
            if str(stored["origin"]) == origin:
                return stored["soft_logits"]
    predict = tf.function(functools.partial(load_model(teacher), training=False), reduce_retracing=True)
    batches = [images.images[begin : begin + BATCH_SIZE] for begin in range(0, len(images), BATCH_SIZE)]
    soft_logits = np.concatenate([predict(tf.cast(batch, tf.float32) / 255.0).numpy() for batch in batches])
    write_npz_atomically(file, soft_logits=soft_logits, origin=origin)
    return soft_logits


def pseudo_label_records(
    soft_logits: np.ndarray, images: ImageSet, labelled: np.ndarray, teacher: Path, seed: int
) -> list[Record]:
    """Returns records of the accuracy of the pseudo-labels: on all training images, and on the unlabelled ones.

    Args:
        soft_logits: Logits of the teacher, of shape `(n, classes)`.
        images: All training images, with their true labels.
        labelled: Rows of the images whose labels the training uses.
        teacher: Model folder of the teacher.
        seed: Seed of the run.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.1.2.
    """
    begin = time.perf_counter()
    correct = soft_logits.argmax(-1) == labels_of(images)
    digest = sha256(teacher / MODEL)
    records = []
    for part, values in (("all", correct), ("unlabelled", np.delete(correct, labelled))):
        protocol = {"attack": "none", "images": part, "labels": len(labelled), "seed": seed}
        made = record(
            "pseudo_label_accuracy", float(values.mean()), images, protocol, digest, time.perf_counter() - begin
        )
        records.append({**made, "n": len(values)})
    return records
