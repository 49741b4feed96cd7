"""Two small models, exported once, and servers for them."""

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from acl_tf.export.saved_model import export_saved_model
from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import linear_classifier
from acl_tf.models.paired_model import extract_branch
from tests.client.serving import own_servers, tensorflow_model_server

SHAPE = (16, 16, 3)
CLASSES = ("ape", "cat", "dog")


@pytest.fixture(scope="session")
def networks() -> dict[str, keras.Model]:
    keras.utils.set_random_seed(0)
    encoder = extract_branch(Encoder("resnet10", width=0.0625, image_shape=SHAPE), "adversarial")
    classifier = linear_classifier(encoder, len(CLASSES))
    random = np.random.default_rng(0)
    for layer in classifier.layers:
        layer.set_weights([weights + random.uniform(0, 0.2, weights.shape) for weights in layer.get_weights()])
    return {"encoder": encoder, "classifier": classifier}


@pytest.fixture(scope="session")
def saved_models(networks, tmp_path_factory) -> dict[str, Path]:
    """SavedModels by kind; not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    for kind, network in networks.items():
        export_saved_model(network, folder / kind, kind)
    return {kind: folder / kind for kind in networks}


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> list[Path]:
    """SavedModels of two classifiers that load at once; not to be changed."""
    folder = tmp_path_factory.mktemp("small")
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(len(CLASSES))]
        export_saved_model(keras.Sequential(layers), folder / str(seed), "classifier")
    return [folder / "1", folder / "2"]


@pytest.fixture(scope="session", params=[own_servers, tensorflow_model_server], ids=lambda server: server.__name__)
def start(request) -> Callable[..., contextlib.AbstractContextManager]:
    """Starts servers for base paths by name: those of the tests, and the real one where there is one."""
    return request.param


@pytest.fixture(scope="session")
def base_paths(saved_models, tmp_path_factory) -> dict[str, Path]:
    """Models `classifier` and `encoder`, with a version 1; not to be changed."""
    folder = tmp_path_factory.mktemp("served")
    for kind, saved_model in saved_models.items():
        shutil.copytree(saved_model, folder / kind / "1")
    return {kind: folder / kind for kind in saved_models}


@pytest.fixture(scope="session")
def serving(start, base_paths):
    """Serves both models."""
    with start(base_paths) as running:
        yield running


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, *SHAPE), np.uint8)


@pytest.fixture(scope="session")
def images(pixels, tmp_path_factory) -> list[Path]:
    """Returns the pixels as PNG files, of the size of the models' input."""
    folder = tmp_path_factory.mktemp("images")
    for number, image in enumerate(pixels):
        (folder / f"{number}.png").write_bytes(png(image))
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def expected(networks, pixels) -> dict[str, np.ndarray]:
    """Features, and probabilities, of the pixels."""
    logits = networks["classifier"](pixels / np.float32(255))
    return {
        "encoder": np.asarray(networks["encoder"](pixels / np.float32(255))),
        "classifier": np.asarray(keras.ops.softmax(logits)),
    }


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
