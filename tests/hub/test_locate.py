import json

import pytest

from acl_tf.errors import ModelFolderError, UsageError
from acl_tf.hub import locate
from acl_tf.hub.locate import find_model_folder, of_revision
from acl_tf.model_folder.locate import read_config, read_records
from acl_tf.model_folder.manifest import write_manifest


@pytest.fixture
def folder(tmp_path):
    """A run with a model, as far as finding it goes."""
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({"kind": "encoder", "arch": "resnet18"}))
    write_manifest(model)
    return model


def complaint(call, *arguments) -> str:
    with pytest.raises((ModelFolderError, UsageError)) as error:
        call(*arguments)
    return str(error.value)


def test_a_model_folder_and_its_run(folder):
    assert find_model_folder(folder) == find_model_folder(str(folder.parent)) == folder


def test_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parents[1]))
    assert find_model_folder("~/run") == folder


def test_what_is_on_disk_goes_before_the_hub(folder, monkeypatch):
    monkeypatch.setattr(locate, "fetch", lambda *arguments: pytest.fail("asked the Hub"))
    monkeypatch.chdir(folder.parents[1])
    assert find_model_folder("run/model").resolve() == folder
    assert complaint(find_model_folder, "run/other") == "No model folder and no run. Received: 'run/other'"


def test_none(tmp_path, monkeypatch):
    assert complaint(find_model_folder, tmp_path) == f"No model folder and no run. Received: '{tmp_path}'"
    (tmp_path / "checkpoints").mkdir()
    assert complaint(find_model_folder, tmp_path) == (
        f"The run {tmp_path} has no model yet: finish it by acl-tf pretrain --resume --output {tmp_path}"
    )


def test_a_model_that_was_moved_aside_is_found(folder):
    """As after a kill between two renames."""
    folder.rename(folder.with_name(".model.7.old"))
    assert find_model_folder(folder.parent) == folder


def test_revisions(folder, monkeypatch):
    monkeypatch.chdir(folder.parents[1])
    assert of_revision("user/name", "v1") == "user/name@v1"
    assert of_revision("user/name", None) == "user/name"
    assert of_revision("run/model", None) == "run/model"
    for model, revision in (("run/model", "v1"), (str(folder), "v1"), ("user/name@v1", "v2"), ("model.keras", "v1")):
        assert complaint(of_revision, model, revision) == (
            f"A revision is one of a model on the Hub, user/name. Received: {model!r} with revision {revision!r}"
        )


def test_config(folder):
    assert read_config(folder) == {"kind": "encoder", "arch": "resnet18"}
    origin = {"repo_id": "user/name", "revision": "abc", "trusted": []}
    (folder / "origin.json").write_text(json.dumps(origin))
    assert read_config(folder)["origin"] == origin


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("config.json", "{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("config.json", "[]", "it does not say what kind of model this is."),
        ("config.json", '{"kind": "pickle"}', "it does not say what kind of model this is."),
        ("config.json", '{"arch": "resnet18"}', "it does not say what kind of model this is."),
        ("config.json", '{"kind": "classifier", "classes": 3}', "its classes are not a list of names."),
        ("config.json", '{"kind": "classifier", "classes": [1, 2]}', "its classes are not a list of names."),
        ("origin.json", "{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ],
)
def test_damaged(folder, file, content, message):
    (folder / file).write_text(content)
    assert complaint(read_config, folder).endswith(f" is damaged: {message}")


def test_records(folder):
    assert read_records(folder) == []
    record = {"metric": "accuracy", "value": 0.5, "protocol": {}}
    (folder / "records.jsonl").write_text(json.dumps(record) + "\n")
    assert read_records(folder) == [record]


def test_neither_tensorflow_nor_keras_is_needed(folder, run_python):
    code = (
        "import sys; from acl_tf.hub.locate import *; from acl_tf.model_folder.locate import *\n"
        "from acl_tf.model_folder.manifest import verify\n"
        f"folder = find_model_folder({str(folder)!r}); verify(folder); read_config(folder); read_records(folder)\n"
        "print(sorted({'tensorflow', 'keras', 'torch'} & sys.modules.keys()))"
    )
    assert run_python(code) == "[]\n"
