import json
import os
import subprocess
import sys

import pytest
import yaml

from acl_tf import onednn
from acl_tf.config import build
from acl_tf.errors import DataError, Interrupted, UsageError
from acl_tf.pretrain.config import PretrainConfig
from acl_tf.training.run_folder import RunFolder

CONFIG = build(PretrainConfig, {"data": {"dataset": "digits"}, "training": {"epochs": 3}})


def changed(**sections) -> PretrainConfig:
    return CONFIG.model_copy(
        update={name: getattr(CONFIG, name).model_copy(update=values) for name, values in sections.items()}
    )


def run(folder: RunFolder, config: PretrainConfig = CONFIG, resume: bool = False, step: int | None = 1) -> None:
    """A run that gets as far as a checkpoint, or not even there."""
    with folder.session(config, resume):
        if step is not None:
            (folder.checkpoints / f"step-{step:08d}").mkdir(exist_ok=True)


def about(folder: RunFolder) -> dict:
    return json.loads(folder.about.read_text())


def complaint(folder: RunFolder, config: PretrainConfig = CONFIG, resume: bool = False) -> str:
    with pytest.raises(UsageError) as error, folder.session(config, resume):
        pytest.fail("the session began")
    return str(error.value)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def test_what_a_run_notes(folder):
    with folder.session(CONFIG, resume=False):
        assert about(folder)["status"] == "running" and about(folder)["ended"] is None
        assert build(PretrainConfig, yaml.safe_load(folder.config.read_text())) == CONFIG
        assert folder.checkpoints.is_dir()
    noted = about(folder)
    process = {"command", "host", "versions", "onednn", "git_revision", "plugins"}
    assert noted.keys() == {"status", "started", "ended", *process}
    assert noted["status"] == "finished" and noted["started"] <= noted["ended"]
    assert noted["versions"].keys() == {"acl_tf", "tensorflow", "keras", "python"}
    assert noted["onednn"] == onednn.decision()


@pytest.mark.parametrize(
    "error, status",
    [
        (DataError("no image"), "failed"),
        (RuntimeError("a bug"), "failed"),
        (Interrupted("by SIGTERM", 15), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_how_a_run_ended(folder, error, status):
    with pytest.raises(type(error)), folder.session(CONFIG, resume=False):
        raise error
    assert about(folder)["status"] == status and about(folder)["ended"]


def test_a_full_disk_does_not_hide_the_error(folder, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="no image"), folder.session(CONFIG, resume=False):  # noqa: PT012
        monkeypatch.setattr("acl_tf.training.run_folder.write_atomically", full)
        raise DataError("no image")


def test_the_first_start_is_kept(folder):
    run(folder)
    started = about(folder)["started"]
    folder.about.write_text(json.dumps({**about(folder), "started": "2001-01-01T00:00:00+00:00", "status": "failed"}))
    run(folder, resume=True)
    assert about(folder)["started"] == "2001-01-01T00:00:00+00:00" != started
    assert about(folder)["status"] == "finished"


# Folders that hold something


def test_another_run(folder):
    run(folder)
    assert complaint(folder) == (
        f"The output folder holds another run; go on with it by --resume, or choose another --output. "
        f"Received: {folder.path}"
    )
    run(folder, resume=True)


def test_a_finished_model_is_not_overwritten(folder):
    run(folder, step=None)
    folder.model.mkdir()
    assert complaint(folder).startswith("The output folder holds another run;")


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_failed_before_its_first_checkpoint_is_no_run(folder, resume):
    """So whoever corrects a wrong flag need not choose another folder as well."""
    with pytest.raises(DataError), folder.session(CONFIG, resume=False):
        raise DataError("no image")
    other = changed(data={"dataset": "cifar10"})
    run(folder, other, resume)
    assert build(PretrainConfig, yaml.safe_load(folder.config.read_text())) == other


@pytest.mark.parametrize("resume", [False, True])
def test_something_else(folder, resume):
    folder.path.mkdir()
    (folder.path / "thesis.tex").touch()
    assert complaint(folder, resume=resume) == (
        f"The output folder is not empty and holds no run; choose another --output. Received: {folder.path}"
    )
    assert [file.name for file in folder.path.iterdir()] == ["thesis.tex"]


def test_a_configuration_of_somebody_is_not_overwritten(folder):
    folder.path.mkdir()
    folder.config.write_text("precious: true")
    assert complaint(folder).startswith("The output folder is not empty and holds no run;")
    assert folder.config.read_text() == "precious: true"


def test_an_empty_folder_will_do(folder):
    folder.path.mkdir()
    run(folder)


def test_a_file(folder):
    folder.path.touch()
    assert complaint(folder) == f"The output folder is a file; choose another --output. Received: {folder.path}"


@pytest.mark.parametrize("made", [[], ["checkpoints/"], ["checkpoints/", ".lock"], ["checkpoints/", ".run.json.7.tmp"]])
def test_a_run_that_was_killed_while_it_made_its_folder(folder, made):
    folder.path.mkdir()
    for name in made:
        (folder.path / name).mkdir() if name.endswith("/") else (folder.path / name).touch()
    run(folder)


def test_what_a_killed_process_left_is_removed(folder):
    run(folder)
    (folder.path / ".model.123.tmp").mkdir()
    (folder.path / ".model.123.tmp" / "model.keras").touch()
    folder.model.mkdir()
    (folder.path / ".model.123.old").mkdir()
    (folder.path / ".metrics.jsonl.123.tmp").touch()
    run(folder, resume=True)
    names = [".lock", "checkpoints", "config.yaml", "model", "run.json"]
    assert sorted(file.name for file in folder.path.iterdir()) == names


@pytest.mark.parametrize("name", ["model", "model_last"])
def test_a_model_that_a_killed_process_had_moved_aside_comes_back(folder, name):
    """As when it was killed while it exchanged the model folder for one with more records."""
    run(folder)
    (folder.path / f".{name}.123.old").mkdir()
    (folder.path / f".{name}.123.old" / "model.keras").write_text("trained for days")
    (folder.path / f".{name}.123.tmp").mkdir()
    run(folder, resume=True)
    assert (folder.path / name / "model.keras").read_text() == "trained for days"
    assert sorted(file.name for file in folder.path.glob(".*")) == [".lock"]


# Resuming with another configuration


def test_another_configuration(folder):
    run(folder)
    other = changed(training={"epochs": 4, "seed": 1}, attack={"steps": 7})
    assert complaint(folder, other, resume=True) == (
        f"The run in {folder.path} has another configuration and cannot go on with this one. "
        "Expected: attack.steps=5, training.epochs=3, training.seed=0. "
        "Received: attack.steps=7, training.epochs=4, training.seed=1"
    )
    assert about(folder)["status"] == "finished"


def test_what_may_differ(folder):
    run(folder)
    other = changed(
        training={"checkpoint_steps": 9, "keep_checkpoints": 9, "log_steps": 9}, data={"data_dir": "/somewhere"}
    )
    run(folder, other, resume=True)
    assert build(PretrainConfig, yaml.safe_load(folder.config.read_text())) == other


def test_a_configuration_that_was_damaged(folder):
    run(folder)
    folder.config.write_text("data: [")
    assert complaint(folder, resume=True).startswith(f"{folder.config} is not valid YAML: ")


# Two processes

HOLD = """
import sys
from pathlib import Path
from acl_tf.config import build
from acl_tf.pretrain.config import PretrainConfig
from acl_tf.training.run_folder import RunFolder

with RunFolder(Path(sys.argv[1])).session(build(PretrainConfig, {}), resume=True):
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("resume", [False, True])
def test_two_processes_in_one_folder(folder, resume):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "begun\n"
        assert complaint(folder, build(PretrainConfig, {}), resume) == (
            f"Another process is at work in this run folder. Received: {folder.path}"
        )
        assert about(folder)["status"] == "running"
    finally:
        holder.kill()
        holder.communicate()
    run(folder, build(PretrainConfig, {}), resume)  # a lock does not outlive its process
    assert about(folder)["status"] == "finished"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(folder, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError), folder.session(CONFIG, resume=False):
        pytest.fail("the session began")
