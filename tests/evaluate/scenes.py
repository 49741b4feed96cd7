"""Classifiers whose robust accuracy is known, images for them, and folders of both."""

import json
from pathlib import Path

import keras
import numpy as np

from acl_tf.data.image_set import ImageSet
from acl_tf.model_folder.manifest import write_manifest

LEVELS = (10, 60, 90, 120, 135, 160, 200, 250)


def classifier(weights: np.ndarray, size: int = 4, classes: int = 2) -> keras.Model:
    """Calls an image the second class where `weights` · (image - 1/2) is positive; other classes never win."""
    inputs = keras.Input((size, size, 3))
    model = keras.Model(inputs, keras.layers.Dense(classes, name="fc")(keras.layers.Flatten()(inputs)))
    kernel, bias = np.zeros((weights.size, classes), "float32"), np.full(classes, -1e3, "float32")
    kernel[:, 1] = weights.ravel()
    bias[:2] = weights.sum() / 2, 0
    model.get_layer("fc").set_weights([kernel, bias])
    return model


def brightness(size: int = 4, classes: int = 2) -> keras.Model:
    """Calls an image bright where its mean is above 1/2: an attack of epsilon moves the mean by epsilon at most."""
    return classifier(np.full((size, size, 3), 1 / (3 * size * size), "float32"), size, classes)


def constant(size: int = 4, label: int = 1) -> keras.Model:
    """Gives every image the same logits: there is nothing to attack."""
    model = classifier(np.zeros((size, size, 3), "float32"), size)
    model.get_layer("fc").set_weights([np.zeros((3 * size * size, 2)), np.eye(2)[label]])
    return model


def greys(size: int = 4, classes: tuple[str, ...] = ("dark", "bright")) -> ImageSet:
    """Eight grey images at known distances from the boundary of `brightness`; all are classified correctly."""
    levels = np.array(LEVELS, np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (len(levels), size, size, 3))
    return ImageSet(np.ascontiguousarray(images), (levels > 127).astype(np.int64), classes, "greys", "test")


def distances(image_set: ImageSet) -> np.ndarray:
    """Of each grey image from the boundary of `brightness`."""
    return np.abs(image_set.images[:, 0, 0, 0] / 255 - 0.5)


def random_weights(size: int = 4, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(size, size, 3)).astype("float32")


def noise(weights: np.ndarray, count: int = 200, seed: int = 2) -> ImageSet:
    """Images away from black and white, labelled as `classifier(weights)` does."""
    images = np.random.default_rng(seed).integers(90, 166, (count, *weights.shape), np.uint8)
    labels = (scores(weights, images) > 0).astype(np.int64)
    return ImageSet(images, labels, ("no", "yes"), "noise", "test")


def scores(weights: np.ndarray, images: np.ndarray) -> np.ndarray:
    """What `classifier(weights)` decides by, in float64."""
    return ((images / 255 - 0.5) * weights.astype(np.float64)).sum(axis=(1, 2, 3))


def kept(record: dict) -> dict:
    """A record without what two runs of one seed may differ in."""
    return {key: value for key, value in record.items() if key not in ("date", "seconds")}


def write_classifier(
    folder: Path, model: keras.Model, classes: tuple[str, ...] = ("dark", "bright"), **config: object
) -> Path:
    """Writes a model folder of any Keras model."""
    folder.mkdir(parents=True)
    model.save(folder / "model.keras")
    about = {"kind": "classifier", "classes": list(classes), "recipe": {}, **config}
    (folder / "config.json").write_text(json.dumps(about))
    write_manifest(folder)
    return folder


def write_images(file: Path, image_set: ImageSet) -> Path:
    np.savez(file, images=image_set.images, labels=image_set.labels)
    return file
