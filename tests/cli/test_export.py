"""`acl-tf export`."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import acl_tf
from acl_tf.cli import run
from tests.training.disk import LimitedFiles


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A classifier's model folder; not to be changed."""
    import keras

    from acl_tf.model_folder.write import TrainedModel, write_model_folder
    from acl_tf.models.branch import Branch
    from acl_tf.models.encoder import Encoder

    encoder = Encoder("resnet10", width=0.0625, image_shape=(16, 16, 3))
    layer = keras.layers.Dense(3, name="fc")
    layer.build((None, encoder.feature_dim))
    trained = TrainedModel(encoder, Branch.STANDARD, {}, classifier=layer, classes=("ape", "cat", "dog"))
    folder = tmp_path_factory.mktemp("models") / "model"
    write_model_folder(folder, trained)
    return folder


def export(capsys, *arguments: object) -> Path:
    capsys.readouterr()
    assert run(["export", *map(str, arguments)]) == 0
    return Path(capsys.readouterr().out.removesuffix("\n"))


def logits(path: Path) -> np.ndarray:
    import tensorflow as tf

    images = np.random.default_rng(0).random((4, 16, 16, 3), np.float32)
    return tf.saved_model.load(str(path)).signatures["serving_default"](tf.constant(images))["logits"].numpy()


def operations(path: Path) -> dict[str, int]:
    from acl_tf.safety.saved_model import check_saved_model, read_contents

    check_saved_model(path)
    return read_contents(path).operations


@pytest.mark.slow
def test_a_base_path(model, tmp_path, capsys):
    images = np.random.default_rng(0).random((4, 16, 16, 3), np.float32)
    import acl_tf

    expected = acl_tf.load(model)(images).numpy()
    plain = export(capsys, model, tmp_path / "served")
    assert plain == tmp_path / "served" / "1"
    assert (plain / "saved_model.pb").is_file()
    np.testing.assert_allclose(logits(plain), expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    folded = export(capsys, model, tmp_path / "served", "--fold-bn", "--version", 7)
    assert folded == tmp_path / "served" / "7"
    np.testing.assert_allclose(logits(folded), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert operations(plain)["Rsqrt"] > operations(folded)["Rsqrt"] == 0

    trainable = export(capsys, model, tmp_path / "served", "--trainable")
    assert trainable == tmp_path / "served" / "8"
    np.testing.assert_allclose(logits(trainable), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert operations(trainable)["AssignVariableOp"] > operations(plain)["AssignVariableOp"]
    assert sorted(file.name for file in (tmp_path / "served").iterdir()) == ["1", "7", "8"]


@pytest.mark.slow
def test_an_encoder_in_a_lone_file(model, tmp_path, capsys):
    import keras

    from acl_tf.safety.saved_model import read_contents

    classifier = keras.saving.load_model(model / "model.keras")
    keras.Model(classifier.input, classifier.layers[-2].output).save(tmp_path / "encoder.keras")
    path = export(capsys, tmp_path / "encoder.keras", tmp_path / "served")
    assert read_contents(path).signatures["uint8"][1] == {"features": "float32 (?, 32)"}
    shutil.copy(model / "model.keras", tmp_path / "classifier.keras")
    path = export(capsys, tmp_path / "classifier.keras", tmp_path / "served")
    assert list(read_contents(path).signatures["uint8"][1]) == ["logits", "probabilities"]


def test_a_run_folder(model, tmp_path, capsys):
    assert export(capsys, model.parent, tmp_path / "served") == tmp_path / "served" / "1"


def test_a_version_that_is_there(fail, model, tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "mine").touch()
    assert fail("export", model, tmp_path, "--version", "7") == (
        2,
        f"acl-tf: error: {tmp_path} has this version already, and a server may be serving it; choose another, or none "
        "for 8. Received: --version 7",
    )
    assert [file.name for file in (tmp_path / "7").iterdir()] == ["mine"]


def test_the_largest_version(fail, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("acl_tf.export.base_path.export_saved_model", lambda model, path, kind: None)
    assert export(capsys, model, tmp_path, "--version", 2**63 - 1) == tmp_path / str(2**63 - 1)
    assert fail("export", model, tmp_path) == (
        2,
        f"acl-tf: error: A version is at most 2**63 - 1; choose one by --version. Received: {2**63}",
    )


@pytest.mark.parametrize("version", ["0", "-1", "1.5", "latest", str(2**63)])
def test_no_version(version, tmp_path, capsys):
    assert run(["export", "model", str(tmp_path / "served"), "--version", version]) == 2
    assert "--version" in capsys.readouterr().err
    assert not (tmp_path / "served").exists()


def test_the_name_in_the_kit(model, tmp_path, monkeypatch, capsys):
    """That of DIR, whatever it is called and however it is written."""
    monkeypatch.setattr("acl_tf.export.base_path.export_saved_model", lambda model, path, kind: None)
    for folder in ("model", "served"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        for number, directory in enumerate([tmp_path / folder, ".", f"../{folder}/"], start=1):
            assert export(capsys, model, directory, "--serving-kit").name == str(number)
            assert f'name: "{folder}"' in (tmp_path / folder / "models.config").read_text()
    export(capsys, model, tmp_path / "served", "--serving-kit", "--name", "mine")
    assert 'name: "mine"' in (tmp_path / "served" / "models.config").read_text()


def test_batching_is_of_the_kit(fail, model, tmp_path, capsys):
    assert fail("export", model, tmp_path / "served", "--batching") == (
        2,
        "acl-tf: error: The serving kit configures batching. Received: --batching without --serving-kit",
    )
    export(capsys, model, tmp_path / "served", "--serving-kit")
    assert not (tmp_path / "served" / "batching_parameters.txt").exists()
    export(capsys, model, tmp_path / "served", "--serving-kit", "--batching")
    assert (tmp_path / "served" / "batching_parameters.txt").exists()


def test_a_kit_that_cannot_be_written_leaves_no_version(fail, model, tmp_path, monkeypatch):
    from acl_tf.export import served

    two_lines = served.ServedModel(acl_tf.load(model), "classifier", ("ape", "two\nlines", "dog"))
    monkeypatch.setattr(served, "to_serve", lambda model: two_lines)
    assert fail("export", model, tmp_path / "served", "--serving-kit") == (
        2,
        "acl-tf: error: classes.txt has a line for each class, so names are one line. Received: 'two\\nlines'",
    )
    code, message = fail("export", model, tmp_path / "served", "--serving-kit", "--name", "a b")
    assert code == 2 and message.endswith("choose one by --name. Received: 'a b'")
    assert not (tmp_path / "served").exists()


def test_what_excludes_each_other(fail, tmp_path):
    assert fail("export", "model", tmp_path, "--fold-bn", "--trainable") == (
        2,
        "acl-tf: error: A trainable SavedModel keeps its batch normalisation. Received: --fold-bn --trainable",
    )


def test_a_file_in_the_place_of_the_base_path(fail, model, tmp_path):
    (tmp_path / "file").touch()
    code, message = fail("export", model, tmp_path / "file")
    assert code == 2
    assert message == (
        f"acl-tf: error: The base path of a served model is a folder. Received: '{tmp_path / 'file'}', a file"
    )


def test_no_model(fail, tmp_path):
    code, message = fail("export", tmp_path / "none", tmp_path / "served")
    assert (code, message) == (1, f"acl-tf: error: No model folder and no run. Received: '{tmp_path / 'none'}'")
    code, message = fail("export", tmp_path / "none.keras", tmp_path / "served")
    assert (code, message) == (1, f"acl-tf: error: No such .keras file. Received: '{tmp_path / 'none.keras'}'")
    assert not (tmp_path / "served").exists()


def test_a_model_of_no_fixed_size(fail, tmp_path):
    import keras

    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs)).save(tmp_path / "any.keras")
    code, message = fail("export", tmp_path / "any.keras", tmp_path / "served")
    assert code == 2 and message.endswith("Received: (None, None, None, 3)")
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize("channels", [2, 4])
def test_a_model_of_other_channels(fail, tmp_path, channels):
    import keras

    inputs = keras.Input((8, 8, channels))
    keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs)).save(tmp_path / "other.keras")
    assert fail("export", tmp_path / "other.keras", tmp_path / "served") == (
        2,
        f"acl-tf: error: A served model takes images of 3 channels, or of 1. Received: (None, 8, 8, {channels})",
    )
    assert not (tmp_path / "served").exists()


def test_a_model_of_grey_images(tmp_path, capsys):
    import keras
    import tensorflow as tf

    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs)).save(tmp_path / "grey.keras")
    loaded = tf.saved_model.load(str(export(capsys, tmp_path / "grey.keras", tmp_path / "served")))
    file = tf.io.encode_png(np.full((8, 8, 1), 51, np.uint8))
    np.testing.assert_allclose(loaded.signatures["image_bytes"](file[None])["features"], [[0.2]], rtol=1e-6)


def test_a_classifier_of_probabilities(fail, tmp_path):
    from keras import Sequential, layers

    for end, name in [
        ([layers.Dense(3, activation="softmax")], "softmax"),
        ([layers.Dense(3, activation="sigmoid")], "sigmoid"),
        ([layers.Dense(3, activation=layers.ReLU())], "ReLU"),
        ([layers.Dense(3), layers.Softmax()], "softmax"),
        ([layers.Dense(3), layers.Activation("softmax")], "softmax"),
        ([layers.Dense(3, activation="softmax"), layers.Activation("linear")], "softmax"),
        ([Sequential([layers.Input((192,)), layers.Dense(3, activation="softmax")])], "softmax"),
    ]:
        Sequential([layers.Input((8, 8, 3)), layers.Flatten(), *end]).save(tmp_path / "model.keras")
        assert fail("export", tmp_path / "model.keras", tmp_path / "served") == (
            2,
            "acl-tf: error: The last layer of a classifier returns logits; probabilities are computed from them when "
            f"it is served. Received: activation {name}",
        )
        assert not (tmp_path / "served").exists()


def test_the_kind_of_a_lone_file(tmp_path):
    from keras import Sequential, layers

    from acl_tf.export.served import to_serve

    for end, kind in [
        ([layers.Dense(3)], "classifier"),
        ([layers.Dense(3), layers.Activation("linear", dtype="float32")], "classifier"),
        ([Sequential([layers.Input((192,)), layers.Dense(3)])], "classifier"),
        ([layers.Dense(3), layers.ReLU()], "encoder"),
        ([], "encoder"),
    ]:
        Sequential([layers.Input((8, 8, 3)), layers.Flatten(), *end]).save(tmp_path / "model.keras")
        assert to_serve(acl_tf.load(tmp_path / "model.keras")).kind == kind


def test_a_full_disk(fail, tmp_path):
    """The model is a small one, so that nothing but TensorFlow's own files is too large for the disk."""
    import keras

    layers = [keras.layers.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    disk = LimitedFiles(tmp_path / "disk")
    with disk.mounted(2**16), disk.full():
        code, message = fail("export", tmp_path / "model.keras", disk.path / "served")
    assert (code, message) == (
        1,
        f"acl-tf: error: Cannot write a SavedModel into {disk.path / 'served'}: File too large.",
    )
    assert list((disk.path / "served").iterdir()) == []
