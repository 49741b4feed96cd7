"""The stock-Keras promise: `model.keras` loads on every backend, where acl_tf cannot be imported."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from acl_tf.files import sha256
from acl_tf.model_folder.write import TrainedModel, write_model_folder
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from tests.export.tiny import FLOATS, SIZE, difference, shaken

pytestmark = pytest.mark.interop

# Isolated (-I), so that neither the current folder nor PYTHONPATH is searched; an editable install is refused by name.
STOCK = """
import sys

sys.modules["acl_tf"] = None  # any import of it fails
import keras
import numpy as np

backend, path, images, outputs = sys.argv[1:]
assert keras.backend.backend() == backend, keras.backend.backend()
try:
    import acl_tf
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("acl_tf was imported")
model = keras.saving.load_model(path)
assert {layer.__class__.__module__.split(".")[0] for layer in model.layers} == {"keras"}
np.save(outputs, keras.ops.convert_to_numpy(model(np.load(images), training=False)))
"""


@pytest.fixture(scope="module", params=["encoder", "classifier"])
def published(request, tmp_path_factory):
    """A model folder as it is pushed to the Hub, and what its model computes."""
    import keras

    from acl_tf.model_folder.write import published_model

    encoder = Encoder("resnet18", width=0.1875, image_shape=(SIZE, SIZE, 3), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    shaken(encoder.graph("adversarial"))
    layer = None
    if request.param == "classifier":
        layer = keras.layers.Dense(3, name="fc")
        layer.build((None, encoder.feature_dim))
    trained = TrainedModel(encoder, Branch.ADVERSARIAL, {}, classifier=layer, classes=("a", "b", "c") if layer else ())
    folder = tmp_path_factory.mktemp(request.param) / "model"
    write_model_folder(folder, trained)
    return folder, published_model(trained)(FLOATS, training=False)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_stock_keras_loads_it(published, tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: its backend of Keras cannot be tried")
    folder, expected = published
    before = sha256(folder / "model.keras")
    np.save(tmp_path / "images.npy", FLOATS)
    arguments = [backend, folder / "model.keras", tmp_path / "images.npy", tmp_path / "outputs.npy"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", STOCK, *map(str, arguments)],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert difference(np.load(tmp_path / "outputs.npy"), expected) < 1e-5
    assert sha256(folder / "model.keras") == before
