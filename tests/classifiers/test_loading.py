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
    for classes in (("dark", "bright"), ("0", "1")):  # the latter of an .npz file, which has no names
        images = greys(classes=classes)
        assert loaded.aligned(images) is images
    assert caplog.messages == []


def test_classes_in_another_order_are_matched_by_name(loaded):
    """As with STL-10, which has some of CIFAR-10's classes in another order."""
    images = greys(classes=("bright", "dark"))
    aligned = loaded.aligned(images)
    assert aligned.classes == ("dark", "bright")
    np.testing.assert_array_equal(aligned.labels, 1 - images.labels)


def test_numbers_are_names_where_a_model_has_them_in_another_order(loaded):
    """As of folders 0, 1, 10, 2, …, which acl-tf 0.1 put into alphabetical order."""
    model = replace(loaded, classes=("0", "1", "10", *map(str, range(2, 10))))
    images = replace(greys(), labels=np.array([0, 1, 2, 9, 10, 5, 3, 4]), classes=tuple(map(str, range(11))))
    assert model.aligned(images).labels.tolist() == [0, 1, 3, 10, 2, 6, 4, 5]


def test_some_of_the_classes_are_measured_and_named(loaded, caplog):
    model = replace(loaded, classes=("dark", "middle", "bright"))
    aligned = model.aligned(greys())
    assert set(aligned.labels.tolist()) == {0, 2} and aligned.classes == model.classes
    assert caplog.messages == ["greys has 2 of the model's 3 classes: dark, bright"]


def test_other_classes_are_refused(loaded, folder):
    with pytest.raises(UsageError) as error:
        loaded.aligned(greys(classes=("dark", "light")))
    assert str(error.value) == (
        f"{folder} knows other classes than greys has. Expected: dark, bright. Received: dark, light"
    )


def test_as_many_classes_are_needed(loaded, folder):
    with pytest.raises(UsageError) as error:
        loaded.aligned(greys(classes=("dark", "middle", "bright")))
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
