"""Test images, clean and attacked, and a model's features and predictions for them. It needs TensorFlow."""

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

SHOWN = 8  # images to show, whose pixels are kept
BATCH = 50
STEPS = 20
SEED = 0
EPSILON = 8 / 255
# Maps images to features and, for a classifier, logits.
FeaturesAndLogits = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor | None]]


@dataclass(frozen=True)
class Attacked:
    """Test images, clean and attacked.

    Attributes:
        data: Names of data set and split.
        epsilon: Radius of PGD-20, l∞, in pixels of [0, 1].
        classes: Names of the classes; empty if the images have no labels.
        labels: Labels, int64 of shape `(n,)`, or None.
        shown: Rows of the images whose pixels are kept.
        clean, adversarial: Images of these rows, float32 in [0, 1], of shape `(shown, height, width, 3)`.
        clean_features, adversarial_features: Features of all images, float32 of shape `(n, features)`.
        clean_predictions, adversarial_predictions: Predictions, int64 of shape `(n,)`; None for an encoder.
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


def attack_test_images(run: Run, images: int, data_dir: str | None) -> Attacked:
    """Attacks test images with PGD-20 from one random start.

    For a classifier the attack maximises the cross-entropy of the labels (or of its own predictions, if there are
    none), for an encoder the angle between the features of an attacked and a clean image.

    Args:
        run: Run with a model.
        images: Largest number of images, which are spread evenly over the test split.
        data_dir: Folder of the data sets that TFDS has prepared; None: the one that the run used.

    Raises:
        ModelFolderError: If there is no model, or it is damaged.
        UsageError, DataError: If the images cannot be loaded, or do not fit the model.
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
    """Loads a number of test images, at most, of the data set that the run, or else one of its records, names.

    Raises:
        UsageError, DataError: If they cannot be loaded.
    """
    recorded = next((entry.record.get("dataset") for entry in run.entries), None)
    dataset = run.setting("data.dataset") or recorded
    if not isinstance(dataset, str):
        raise DataError("Neither its configuration nor a record names a data set.")
    size = run.setting("data.image_size")
    return _test_images(dataset, images, data_dir or run.setting("data.data_dir"), size)


def epsilon_of(run: Run) -> float:
    """Returns the radius of the run's evaluation, else that of its training, else 8/255."""
    protocols = [entry.record["protocol"] for entry in run.entries if entry.record["metric"] == "robust_accuracy"]
    radii = [protocol.get("epsilon") for protocol in protocols if protocol.get("norm") == "linf"]
    candidates = [*radii, run.setting("attack.epsilon")]
    return next((float(radius) for radius in candidates if isinstance(radius, int | float) and radius > 0), EPSILON)


@functools.lru_cache(maxsize=4)  # several runs may need the same images
def _test_images(dataset: str, images: int, data_dir: str | None, image_size: int | None) -> ImageSet:
    local = dataset == "digits" or dataset.endswith(".npz") or Path(dataset).expanduser().is_dir()
    limit = None if local else images  # a folder is sorted by class: its first images are of one
    config = DataConfig(dataset=dataset, data_dir=data_dir, split="test", limit=limit, image_size=image_size)
    whole = sources.load(config)
    rows = _spread(len(whole), images)
    return replace(whole, images=whole.images[rows], labels=None if whole.labels is None else whole.labels[rows])


def _spread(count: int, wanted: int) -> np.ndarray:
    """Returns `wanted` evenly spread indices below `count`, or all if there are fewer."""
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


def _with_features(model: keras.Model) -> FeaturesAndLogits:
    both = keras.Model(model.input, [model.get_layer("fc").input, model.output])
    return lambda images: tuple(both(images, training=False))


def _batches(image_set: ImageSet) -> Iterator[tuple[tf.Tensor, np.ndarray | None]]:
    for begin in range(0, len(image_set), BATCH):
        rows = slice(begin, begin + BATCH)
        images = tf.cast(image_set.images[rows], tf.float32) / 255.0
        yield images, None if image_set.labels is None else image_set.labels[rows]


def _attack_batch(
    outputs: FeaturesAndLogits, pgd: PGD, number: int, images: tf.Tensor, labels: np.ndarray | None
) -> list[np.ndarray]:
    """Returns images, features and, for a classifier, predictions, each of them clean and attacked."""
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
