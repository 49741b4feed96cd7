"""Models so small that they are exported within seconds, and what is compared."""

from collections.abc import Iterator

import keras
import numpy as np

from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import linear_classifier
from acl_tf.models.paired_model import extract_branch

SIZE = 16
IMAGES = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
FLOATS = IMAGES / np.float32(255)


def shaken(model: keras.Model, seed: int = 0) -> keras.Model:
    """Moves every weight, so that none is as initialised; statistics as far as activations stay of a usual size."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            ranges = {"gamma": (0.5, 1.5), "beta": (-0.5, 0.5), "moving_mean": (-0.5, 0.5), "moving_variance": (0.5, 2)}
            for variable in layer.weights:
                variable.assign(random.uniform(*ranges[variable.name], variable.shape))
        elif not isinstance(layer, keras.layers.Normalization):
            for variable in layer.weights:
                variable.assign_add(random.normal(0, 0.01, variable.shape))
    return model


def encoder(arch: str = "resnet18", width: float = 0.1875, size: int = SIZE, **options) -> keras.Model:
    """Returns a plain Keras model of one branch, the same in every process."""
    keras.utils.set_random_seed(0)
    options = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3), **options}
    return shaken(extract_branch(Encoder(arch, width=width, image_shape=(size, size, 3), **options), "adversarial"))


def classifier(classes: int = 3) -> keras.Model:
    return shaken(linear_classifier(encoder(), classes))


def difference(actual: object, expected: object) -> float:
    """Returns the largest difference, relative to the largest value."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def batches() -> Iterator[np.ndarray]:
    yield from (FLOATS[:0], FLOATS[:1], FLOATS)
