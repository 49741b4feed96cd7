"""A good model folder to spoil, and everything that would load it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import pytest

import acl_tf
from acl_tf.cli import run
from acl_tf.errors import AclTfError
from acl_tf.model_folder.read import load_encoder
from acl_tf.model_folder.write import TrainedModel, write_model_folder
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder


@pytest.fixture(scope="session")
def good_folder(tmp_path_factory) -> Path:
    encoder = Encoder("resnet10", width=0.0625, image_shape=(16, 16, 3))
    layer = keras.layers.Dense(3, name="fc")
    layer.build((None, encoder.feature_dim))
    trained = TrainedModel(encoder, Branch.STANDARD, {}, classifier=layer, classes=("ape", "cat", "dog"))
    path = tmp_path_factory.mktemp("good") / "model"
    write_model_folder(path, trained, [{"metric": "accuracy", "value": 0.5, "protocol": {}}])
    return path


@pytest.fixture
def folder(good_folder, tmp_path) -> Path:
    """Returns a copy of the good folder, for a test to spoil."""
    return shutil.copytree(good_folder, tmp_path / "folder")


@pytest.fixture
def marker(tmp_path) -> Path:
    return tmp_path / "marker"


@pytest.fixture
def refusals(capsys, tmp_path) -> Callable[..., set[str]]:
    """Returns a function that loads a model in every way, each of which must fail, and returns the messages.

    Python's functions raise an `AclTfError`; commands exit with 1, and `inspect` lists what it found.
    """

    def said(model: Path, *names: str) -> set[str]:
        messages = set()
        for load in (LOADERS[name] for name in names if name in LOADERS):
            with pytest.raises(AclTfError) as error:
                load(str(model))
            messages.add(str(error.value))
        capsys.readouterr()
        for command in (name for name in names if name not in LOADERS):
            assert run([argument.format(model=model, tmp=tmp_path) for argument in COMMANDS[command]]) == 1, command
            out, err = capsys.readouterr()
            if command == "inspect" and "refused" in out:
                messages |= {line.removeprefix("refused     ") for line in out.splitlines() if line[:8] == "refused "}
            else:
                (line,) = (line for line in err.splitlines() if line.startswith("acl-tf: error: "))
                messages.add(line.removeprefix("acl-tf: error: "))
        assert not (tmp_path / "served").exists() or not any((tmp_path / "served").iterdir())
        assert not any(message for message in messages if "\n" in message)
        return {message.replace(str(model), "MODEL") for message in messages}

    return said


LOADERS = {
    "load": acl_tf.load,
    "load_encoder": load_encoder,
    "load_saved_model": acl_tf.load_saved_model,
}
COMMANDS = {
    "inspect": ["inspect", "{model}"],
    "export": ["export", "{model}", "{tmp}/served"],
    "evaluate": ["evaluate", "{model}", "--dataset", "digits", "--limit", "2"],
}
EVERYTHING = (*LOADERS, *COMMANDS)
