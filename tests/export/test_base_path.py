import os
import subprocess
import sys
import threading

import pytest
import tensorflow as tf

from acl_tf.errors import UsageError
from acl_tf.export import base_path
from acl_tf.export.base_path import add_version, version_numbers
from acl_tf.export.served import ServedModel
from tests.export.tiny import FLOATS, difference


@pytest.fixture(scope="module")
def served(encoder):
    return ServedModel(encoder, "encoder", ())


@pytest.fixture
def quick(monkeypatch):
    """Writes a file in place of a SavedModel."""
    monkeypatch.setattr(base_path, "export_saved_model", lambda model, path, kind: (path / "saved_model.pb").touch())


def test_a_version(tmp_path, served, encoder):
    path = add_version(tmp_path / "new" / "served", None, served)
    assert path == tmp_path / "new" / "served" / "1"
    loaded = tf.saved_model.load(str(path))
    assert difference(loaded.signatures["serving_default"](tf.constant(FLOATS))["features"], encoder(FLOATS)) < 1e-5
    assert not callable(loaded)
    assert [file.name for file in path.parent.iterdir()] == ["1"]
    assert [file.name for file in path.parent.parent.iterdir()] == ["served"]


def test_numbers(tmp_path, served, quick):
    for name in ("7", "012", "model.config", "8.tmp", ".9.1.tmp", "x"):
        (tmp_path / name).mkdir()
    for beyond in (2**63, 10**100):  # TF Serving reads 64 bits
        (tmp_path / str(beyond)).mkdir()
    assert version_numbers(tmp_path) == {7, 12}
    assert add_version(tmp_path, None, served) == tmp_path / "13"
    assert add_version(tmp_path, 2, served) == tmp_path / "2"
    assert add_version(tmp_path, None, served) == tmp_path / "14"


@pytest.mark.parametrize("number", [3, 7])
def test_a_version_that_is_there(tmp_path, served, quick, number):
    (tmp_path / "3").mkdir()
    (tmp_path / "007").mkdir()
    with pytest.raises(UsageError) as error:
        add_version(tmp_path, number, served)
    assert str(error.value) == (
        f"{tmp_path} has this version already, and a server may be serving it; choose another, or none for 8. "
        f"Received: --version {number}"
    )


def test_after_the_last_version(tmp_path, served, quick):
    (tmp_path / str(2**63 - 1)).mkdir()
    assert version_numbers(tmp_path) == {2**63 - 1}
    for number in (None, 2**63):
        with pytest.raises(UsageError) as error:
            add_version(tmp_path, number, served)
        assert str(error.value) == f"A version is at most 2**63 - 1; choose one by --version. Received: {2**63}"
    assert add_version(tmp_path, 1, served) == tmp_path / "1"


def test_a_file(tmp_path, served):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as error:
        add_version(tmp_path / "file", None, served)
    assert str(error.value) == (f"The base path of a served model is a folder. Received: '{tmp_path / 'file'}', a file")


def test_a_server_that_watches_sees_it_whole_or_not_at_all(tmp_path, served, monkeypatch):
    """Whatever is there under a number is complete; what is not has no number."""
    seen = []

    def slowly(model, path, kind):
        for name in ("saved_model.pb", "variables"):
            (path / name).touch()
            seen.append([entry for entry in os.listdir(tmp_path) if entry.isdecimal()])

    monkeypatch.setattr(base_path, "export_saved_model", slowly)
    add_version(tmp_path, 5, served)
    assert seen == [[], []]
    assert sorted(os.listdir(tmp_path / "5")) == ["saved_model.pb", "variables"]


def test_a_failure_leaves_nothing(tmp_path, served, monkeypatch):
    def full(model, path, kind):
        (path / "saved_model.pb").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(base_path, "export_saved_model", full)
    with pytest.raises(OSError, match="No space left on device"):
        add_version(tmp_path / "served", None, served)
    assert version_numbers(tmp_path / "served") == set()
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == []


KILLED = """
import os, signal, sys
from pathlib import Path
from acl_tf.export import base_path

def write(model, path, kind):
    (path / "saved_model.pb").touch()
    os.kill(os.getpid(), signal.SIGKILL)

base_path.export_saved_model = write
base_path.add_version(Path(sys.argv[1]), None, base_path.ServedModel(None, "encoder", ()))
"""


@pytest.mark.slow
def test_a_kill_leaves_no_version(tmp_path, served, quick):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "served"], capture_output=True, check=False)
    assert done.returncode == -9
    assert version_numbers(tmp_path / "served") == set()
    assert add_version(tmp_path / "served", None, served) == tmp_path / "served" / "1"
    assert os.listdir(tmp_path / "served") == ["1"]


def test_several_at_once_get_different_numbers(tmp_path, served, quick):
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(add_version(tmp_path / "served", None, served))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in paths) == list("123456")
