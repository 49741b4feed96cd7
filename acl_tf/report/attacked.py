"""Test images, clean and attacked, and what a run's model makes of them. This needs TensorFlow."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from acl_tf.attacks.pgd import PGD
from acl_tf.data import sources
from acl_tf.data.config import DataConfig
from acl_tf.data.image_set import ImageSet
from acl_tf.errors import DataError
from acl_tf.loading import load
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.printable import printable
from acl_tf.report.run import Run

SHOWN = 8  # images whose pixels are kept
BATCH = 50
STEPS = 20
SEED = 0
EPSILON = 8 / 255
# From images to features and, of a classifier, logits.
Outputs = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor | None]]


@dataclass(frozen=True)
class Attacked:
    """The same images, clean and attacked.

    Attributes:
        data: Data set and split.
        epsilon: Of PGD-20, l∞, in pixels of [0, 1].
        classes: Their names; empty where the images have no labels.
        labels: int64, of shape `(n,)`, or None.
        shown: Rows of the images whose pixels are kept.
        clean, adversarial: Those images, float32 in [0, 1], of shape `(shown, height, width, 3)`.
        clean_features, adversarial_features: float32, of shape `(n, features)`.
        clean_predictions, adversarial_predictions: int64, of shape `(n,)`; None of an encoder.
    """

    data: str
    epsilon: float
    classes: tuple[str, ...]
    labels: np.ndarray | None
    shown: np.ndarray
    clean: np.ndarray
    adversarial: np.ndarray
    clean_features: np.ndarray
    adversarial_features: np.ndarray
    clean_predictions: np.ndarray | None
    adversarial_predictions: np.ndarray | None


def attack(run: Run, images: int, data_dir: str | None) -> Attacked:
    """Attacks test images by PGD-20 from one random start.

    A classifier is attacked by the cross-entropy of the labels (of its own predictions, where there are none), an
    encoder by the angle between the features of an attacked and a clean image.

    Args:
        run: With a model.
        images: At most so many, spread evenly over the test split.
        data_dir: Where TFDS finds prepared data sets; None: where the run found them.

    Raises:
        ModelFolderError: If there is no model, or it is damaged.
        UsageError, DataError: If the images cannot be had, or do not fit the model.
    """
    model = load(str(run.path))
    image_set = test_images(run, images, data_dir)
    classifier = run.model.get("kind") == "classifier"
    _check(model, image_set, classifier)
    outputs = _with_features(model) if classifier else (lambda images: (model(images, training=False), None))
    epsilon = epsilon_of(run)
    pgd = PGD(epsilon, epsilon / 4, STEPS)
    parts = [_attack_batch(outputs, pgd, number, *batch) for number, batch in enumerate(_batches(image_set))]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    shown = _spread(len(image_set), SHOWN)
    return Attacked(
        data=printable(f"{image_set.name}, {image_set.split}"),
        epsilon=epsilon,
        classes=tuple(printable(name) for name in image_set.classes),
        labels=image_set.labels,
        shown=shown,
        clean=columns[0][shown],
        adversarial=columns[1][shown],
        clean_features=columns[2],
        adversarial_features=columns[3],
        clean_predictions=columns[4] if classifier else None,
        adversarial_predictions=columns[5] if classifier else None,
    )


def test_images(run: Run, images: int, data_dir: str | None) -> ImageSet:
    """Loads at most so many images of the test split of the data set that the run, or else a record, names.

    Raises:
        UsageError, DataError: If they cannot be had.
    """
    recorded = next((entry.record.get("dataset") for entry in run.entries), None)
    dataset = run.setting("data.dataset") or recorded
    if not isinstance(dataset, str):
        raise DataError("Neither its configuration nor a record names a data set.")
    size = run.setting("data.image_size")
    return _test_images(dataset, images, data_dir or run.setting("data.data_dir"), size)


def epsilon_of(run: Run) -> float:
    """Returns the radius that the run was evaluated with, or else trained with, or else 8/255."""
    protocols = [entry.record["protocol"] for entry in run.entries if entry.record["metric"] == "robust_accuracy"]
    radii = [protocol.get("epsilon") for protocol in protocols if protocol.get("norm") == "linf"]
    candidates = [*radii, run.setting("attack.epsilon")]
    return next((float(radius) for radius in candidates if isinstance(radius, int | float) and radius > 0), EPSILON)


@functools.lru_cache(maxsize=4)  # runs on the same images
def _test_images(dataset: str, images: int, data_dir: str | None, image_size: int | None) -> ImageSet:
    local = dataset == "digits" or dataset.endswith(".npz") or Path(dataset).expanduser().is_dir()
    limit = None if local else images  # a folder is sorted by class, its first images would be of one
    config = DataConfig(dataset=dataset, data_dir=data_dir, split="test", limit=limit, image_size=image_size)
    whole = sources.load(config)
    rows = _spread(len(whole), images)
    return replace(whole, images=whole.images[rows], labels=None if whole.labels is None else whole.labels[rows])


def _spread(count: int, wanted: int) -> np.ndarray:
    """Returns the indices of `wanted` of `count` things, or of all, evenly spread."""
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(int)


def _check(model: keras.Model, image_set: ImageSet, classifier: bool) -> None:
    expected, received = tuple(model.input_shape[1:]), image_set.image_shape
    if expected != received:
        raise DataError(f"The model takes images of shape {expected}. Received: {received} of {image_set.name}")
    labels = image_set.labels
    if classifier and labels is not None and labels.max() >= model.output_shape[-1]:
        raise DataError(
            f"The model tells {model.output_shape[-1]} classes apart. Received: label {labels.max()} "
            f"of {image_set.name}"
        )


def _with_features(model: keras.Model) -> Outputs:
    both = keras.Model(model.input, [model.get_layer("fc").input, model.output])
    return lambda images: tuple(both(images, training=False))


def _batches(image_set: ImageSet) -> Iterator[tuple[tf.Tensor, np.ndarray | None]]:
    for begin in range(0, len(image_set), BATCH):
        rows = slice(begin, begin + BATCH)
        images = tf.cast(image_set.images[rows], tf.float32) / 255.0
        yield images, None if image_set.labels is None else image_set.labels[rows]


def _attack_batch(
    outputs: Outputs, pgd: PGD, number: int, images: tf.Tensor, labels: np.ndarray | None
) -> list[np.ndarray]:
    """Returns images, features and, of a classifier, predictions, each clean and attacked."""
    features, logits = outputs(images)
    if logits is None:
        directions = tf.math.l2_normalize(features, axis=-1)
        loss = tf.function(lambda x: -tf.reduce_sum(tf.math.l2_normalize(outputs(x)[0], axis=-1) * directions, axis=-1))
    else:
        targets = tf.argmax(logits, axis=-1) if labels is None else tf.constant(labels)
        loss = tf.function(lambda x: cross_entropy(outputs(x)[1], targets))
    start = pgd.start(images.shape, tf.constant([SEED, number], tf.int32))
    adversarial = pgd(images, loss, start).images
    adversarial_features, adversarial_logits = outputs(adversarial)
    found = [images.numpy(), adversarial.numpy(), features.numpy(), adversarial_features.numpy()]
    if logits is not None and adversarial_logits is not None:
        found += [logits.numpy().argmax(-1), adversarial_logits.numpy().argmax(-1)]
    return found
