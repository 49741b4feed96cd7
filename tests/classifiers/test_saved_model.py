"""SavedModels as classifiers: those that are, and what is said of others."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.autoattack.suite import AutoAttack
from acl_tf.classifiers.loading import load_classifier
from acl_tf.classifiers.saved_model import digest, is_saved_model, load_serving_signature
from acl_tf.errors import ModelFolderError, UnsafeModelError
from acl_tf.export.saved_model import export_saved_model
from tests.evaluate.scenes import brightness, greys
from tests.safety import hostile

IMAGES = greys().images / np.float32(255)


def save(path: Path, step: Callable | None = None, name: str = "serving_default", **spec) -> tf.Module:
    """Writes a SavedModel whose signature makes of two logits what `step` says."""
    module = tf.Module()
    module.weight = tf.Variable(np.eye(3, 2, dtype=np.float32))
    taken = tf.TensorSpec(spec.get("shape", (None, 4, 4, 3)), spec.get("dtype", tf.float32), "pixels")

    def serve(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.reduce_mean(tf.cast(pixels, tf.float32), (1, 2)) @ module.weight
        return step(logits) if step else {"scores": logits}

    tf.saved_model.save(module, str(path), {name: tf.function(serve).get_concrete_function(taken)})
    return module


def complaint(path: Path) -> str:
    with pytest.raises(ModelFolderError) as error:
        load_serving_signature(path)
    return str(error.value).replace(str(path), "PATH")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model"
    export_saved_model(brightness(), path, "classifier")
    return path


def test_an_exported_classifier(exported):
    loaded = load_classifier(str(exported))
    np.testing.assert_allclose(loaded.logits(tf.constant(IMAGES)), brightness()(IMAGES), atol=1e-4)
    assert loaded.attacked is loaded.logits
    assert (loaded.image_size, loaded.classes, loaded.folder) == (4, ("0", "1"), None)
    assert loaded.sha256 == digest(exported) and len(loaded.sha256) == 64


def test_gradients_pass_its_signature(exported):
    loaded, model = load_classifier(str(exported)), brightness()
    options = {"epsilon": 10 / 255, "attacks": ["apgd-ce"]}
    results = [AutoAttack(form, **options).run(IMAGES, greys().labels) for form in (loaded.logits, model)]
    assert results[0].robust.sum() == 6
    np.testing.assert_array_equal(results[0].robust, results[1].robust)


def test_an_input_and_an_output_of_any_name(tmp_path):
    save(tmp_path / "model")
    signature = load_serving_signature(tmp_path / "model")
    expected = IMAGES.mean(axis=(1, 2))[:, :2]
    np.testing.assert_allclose(signature.logits(tf.constant(IMAGES)), expected, atol=1e-6)
    assert (signature.input_shape, signature.output_shape) == ((None, 4, 4, 3), (None, 2))


def test_logits_beside_other_outputs(tmp_path):
    save(tmp_path / "model", lambda logits: {"classes": tf.argmax(logits, 1), "logits": 2 * logits})
    signature = load_serving_signature(tmp_path / "model")
    np.testing.assert_allclose(signature.logits(tf.constant(IMAGES)), 2 * IMAGES.mean(axis=(1, 2))[:, :2], atol=1e-6)


def test_the_variables_outlive_whoever_loaded_them(tmp_path):
    import gc

    save(tmp_path / "model")
    logits = load_serving_signature(tmp_path / "model").logits
    gc.collect()
    assert logits(tf.constant(IMAGES)).shape == (8, 2)


# What is none


def test_another_signature(tmp_path):
    save(tmp_path / "model", name="predict")
    assert complaint(tmp_path / "model") == (
        "A SavedModel is evaluated by its signature serving_default. Received: PATH with predict"
    )


def test_several_outputs_none_of_which_is_logits(tmp_path):
    save(tmp_path / "model", lambda logits: {"scores": logits, "more": logits})
    assert complaint(tmp_path / "model") == (
        "The signature serving_default must map images to logits, or to nothing else. "
        "Received: from pixels to more, scores in PATH"
    )


@pytest.mark.parametrize(
    "taken, step, received",
    [
        (tf.uint8, None, "from uint8 to float32"),
        (tf.float32, lambda logits: {"logits": tf.argmax(logits, 1)}, "from float32 to int64"),
    ],
)
def test_other_types(tmp_path, taken, step, received):
    save(tmp_path / "model", step, dtype=taken)
    assert complaint(tmp_path / "model") == (
        f"The signature serving_default must map float32 images in [0, 1] to logits. Received: {received} in PATH"
    )


@pytest.mark.parametrize("shape", [(None, 4, 6, 3), (None, 4, 4, 1)])
def test_images_that_are_not_square_or_grey(tmp_path, shape):
    save(tmp_path / "model", lambda logits: {"logits": logits[:, :2]}, shape=(None, 4, 6, 3))
    with pytest.raises(ModelFolderError, match=r"^A classifier takes square images"):
        load_classifier(str(tmp_path / "model"))


def test_an_encoder(tmp_path):
    inputs = keras.Input((4, 4, 3))
    export_saved_model(keras.Model(inputs, keras.layers.MaxPooling2D()(inputs)), tmp_path / "model", "encoder")
    with pytest.raises(ModelFolderError, match=r"^A classifier takes square images"):
        load_classifier(str(tmp_path / "model"))


def test_one_that_would_do_more_than_compute(tmp_path):
    marker = tmp_path / "marker"
    hostile.save(tmp_path / "model", hostile.write(marker))
    for load in (load_serving_signature, lambda path: load_classifier(str(path))):
        with pytest.raises(UnsafeModelError, match="WriteFile"):
            load(tmp_path / "model")
    assert not marker.exists()


# What it is


def test_what_is_a_saved_model(tmp_path, exported):
    assert is_saved_model(exported) and not is_saved_model(tmp_path) and not is_saved_model(tmp_path / "none")


def test_the_digest_changes_with_a_variable_and_with_the_name_of_a_file(tmp_path):
    module = save(tmp_path / "one")
    first = digest(tmp_path / "one")
    assert first == digest(tmp_path / "one")
    module.weight.assign_add(tf.ones((3, 2)))
    variables = tmp_path / "one" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(variables.read_bytes())
    content[0] ^= 1
    variables.write_bytes(content)
    changed = digest(tmp_path / "one")
    assert changed != first
    variables.rename(variables.with_name("other"))
    assert digest(tmp_path / "one") not in (first, changed)
