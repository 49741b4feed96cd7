import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from acl_tf.classifiers.loading import load_classifier
from acl_tf.errors import ModelFolderError, UsageError
from acl_tf.files import sha256
from tests.evaluate.scenes import brightness, greys, write_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_classifier(tmp_path_factory.mktemp("run") / "model", brightness())


@pytest.mark.parametrize("place", ["", "..", "model.keras"])
def test_model_folder_run_folder_and_file(folder, place):
    loaded = load_classifier(str(folder / place))
    assert loaded.sha256 == sha256(folder / "model.keras")
    assert loaded.image_size == 4
    images = greys().images / np.float32(255)
    assert loaded.logits(images).numpy().argmax(-1).tolist() == greys().labels.tolist()
    if place == "model.keras":
        assert (loaded.folder, loaded.classes) == (None, ("0", "1"))
    else:
        assert (loaded.folder.resolve(), loaded.classes) == (folder, ("dark", "bright"))


def test_it_predicts_in_inference_mode(tmp_path):
    inputs = keras.Input((4, 4, 3))
    keras.Model(inputs, brightness()(keras.layers.Dropout(0.99)(inputs))).save(tmp_path / "model.keras")
    loaded = load_classifier(str(tmp_path / "model.keras"))
    images = greys().images / np.float32(255)
    np.testing.assert_allclose(loaded.logits(images), brightness()(images), atol=1e-6)


@pytest.fixture
def loaded(folder):
    return load_classifier(str(folder))


def test_classes_that_fit(loaded, caplog):
    loaded.check(greys())
    loaded.check(greys(classes=("0", "1")))  # of an .npz file, which has no names
    assert caplog.messages == []


def test_classes_of_other_names_are_reported(loaded, caplog):
    """As with STL-10, which counts ten classes as CIFAR-10 does, but in another order."""
    loaded.check(greys(classes=("dark", "light")))
    assert caplog.messages == [
        "greys calls class light what the model calls bright; labels are compared by their numbers."
    ]


def test_as_many_classes_are_needed(loaded, folder):
    with pytest.raises(UsageError) as error:
        loaded.check(greys(classes=("dark", "middle", "bright")))
    assert str(error.value) == (
        f"{folder} knows 2 classes, and greys has 3; fine-tune an encoder on that data set first. "
        "Received: --dataset greys"
    )


def test_what_it_is_in_words(loaded):
    assert loaded.summary() == "images of 4x4 pixels, 2 classes"
    free = replace(loaded, image_size=None)
    assert free.summary() == "images of any pixels, 2 classes"


# What is no classifier


def complaint(name) -> str:
    with pytest.raises(ModelFolderError) as error:
        load_classifier(str(name))
    return str(error.value)


def test_an_encoder(tmp_path):
    folder = write_classifier(tmp_path / "run" / "model", brightness(), (), kind="encoder")
    for name in (folder, folder.parent):
        assert complaint(name) == (
            f"A classifier is needed here, and this is an encoder; make one of it by acl-tf finetune {name}. "
            f"Received: '{name}'"
        )


@pytest.mark.parametrize(
    "taken, returned",
    [
        ((None, 12), (None, 12)),
        ((None, 4, 4, 3), (None, 4, 4, 3)),
        ((None, 4, 4, 1), (None, 4, 4, 1)),
        ((None, 4, 6, 3), (None, 72)),
        ((None, 4, 4, 1), (None, 16)),
    ],
)
def test_models_of_something_else(tmp_path, taken, returned):
    inputs = keras.Input(taken[1:])
    same = taken == returned
    model = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs) if same else keras.layers.Flatten()(inputs))
    model.save(tmp_path / "model.keras")
    assert complaint(tmp_path / "model.keras") == (
        "A classifier takes square images (batch, size, size, 3) and returns logits (batch, classes). "
        f"Received: '{tmp_path / 'model.keras'}', from {taken} to {returned}"
    )


def test_a_model_of_two_images(tmp_path):
    both = [keras.Input((4, 4, 3)), keras.Input((4, 4, 3))]
    keras.Model(both, keras.layers.Flatten()(keras.layers.Add()(both))).save(tmp_path / "model.keras")
    assert complaint(tmp_path / "model.keras").startswith("A classifier takes square images")


def test_a_single_logit(tmp_path):
    inputs = keras.Input((4, 4, 3))
    keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(inputs))).save(tmp_path / "model.keras")
    assert complaint(tmp_path / "model.keras") == (
        "A classifier returns a logit for each of two classes or more. "
        f"Received: '{tmp_path / 'model.keras'}', returning (None, 1)"
    )


def test_nothing(tmp_path):
    assert complaint(tmp_path / "none") == f"No model folder and no run. Received: '{tmp_path / 'none'}'"


def test_a_damaged_folder(tmp_path):
    folder = write_classifier(tmp_path / "model", brightness())
    (folder / "config.json").write_text(json.dumps({"kind": "classifier", "classes": ["bright", "dark"]}))
    assert "has changed since it was written" in complaint(folder)
