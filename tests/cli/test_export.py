"""`acl-tf export`."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from acl_tf.cli import run


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A classifier's model folder; not to be changed."""
    import keras

    from acl_tf.model_folder import TrainedModel, write_model_folder
    from acl_tf.models.branch import Branch
    from acl_tf.models.encoder import Encoder

    encoder = Encoder("resnet18", width=0.0625, image_shape=(16, 16, 3))
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
    from acl_tf.safety.saved_model import check_saved_model, contents

    check_saved_model(path)
    return contents(path).operations


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

    from acl_tf.safety.saved_model import contents

    classifier = keras.saving.load_model(model / "model.keras")
    keras.Model(classifier.input, classifier.layers[-2].output).save(tmp_path / "encoder.keras")
    path = export(capsys, tmp_path / "encoder.keras", tmp_path / "served")
    assert contents(path).signatures["uint8"][1] == {"features": "float32 (?, 32)"}
    shutil.copy(model / "model.keras", tmp_path / "classifier.keras")
    path = export(capsys, tmp_path / "classifier.keras", tmp_path / "served")
    assert list(contents(path).signatures["uint8"][1]) == ["logits", "probabilities"]


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


@pytest.mark.parametrize("version", ["0", "-1", "1.5", "latest"])
def test_no_version(version, tmp_path, capsys):
    assert run(["export", "model", str(tmp_path / "served"), "--version", version]) == 2
    assert "--version" in capsys.readouterr().err
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
