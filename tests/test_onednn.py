"""Who turns oneDNN on, seen from a new process: what TensorFlow computes with is decided once, at its import."""

import json
import os
import platform
import subprocess
import sys

import pytest

from acl_tf import onednn

BY_ACL_TF = {"on": True, "decided_by": "acl-tf"}


def decide(monkeypatch, value: str | None, machine: str = "x86_64", imported: bool = False) -> tuple[dict, str]:
    """Returns the decision, and its description, in an environment where the variable has this value."""
    for name in (onednn.VARIABLE, onednn.OWN):
        monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(onednn.VARIABLE, value)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    if imported:
        monkeypatch.setitem(sys.modules, "tensorflow", pytest)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    onednn.turn_on()
    return onednn.decision(), onednn.describe()


@pytest.mark.parametrize(
    "value, on, said",
    [
        ("1", True, "on: TF_ENABLE_ONEDNN_OPTS=1, set by user"),
        ("True", True, "on: TF_ENABLE_ONEDNN_OPTS=True, set by user"),
        ("0", False, "off: TF_ENABLE_ONEDNN_OPTS=0, set by user"),
        ("false", False, "off: TF_ENABLE_ONEDNN_OPTS=false, set by user"),
        ("perhaps", None, "as TensorFlow chooses: TF_ENABLE_ONEDNN_OPTS=perhaps, set by user"),
    ],
)
def test_what_the_user_set_stays(value, on, said, monkeypatch):
    assert decide(monkeypatch, value) == ({"on": on, "decided_by": "user"}, f"oneDNN {said}")
    assert os.environ[onednn.VARIABLE] == value


def test_else_acl_tf_turns_it_on(monkeypatch):
    assert decide(monkeypatch, None) == (BY_ACL_TF, "oneDNN on: TF_ENABLE_ONEDNN_OPTS=1, set by acl-tf")
    assert os.environ[onednn.VARIABLE] == "1"


@pytest.mark.parametrize("machine, imported", [("aarch64", False), ("x86_64", True)])
def test_where_tensorflow_decides(machine, imported, monkeypatch):
    """On other processors, or when it is imported already and would not look at the variable any more."""
    expected = {"on": None, "decided_by": "TensorFlow"}, "oneDNN as TensorFlow chooses"
    assert decide(monkeypatch, None, machine, imported) == expected
    assert onednn.VARIABLE not in os.environ


def test_a_process_that_acl_tf_starts_knows_who_decided(monkeypatch):
    decide(monkeypatch, None)
    onednn.turn_on()
    assert onednn.decision() == BY_ACL_TF
    monkeypatch.setenv(onednn.VARIABLE, "0")
    assert onednn.decision() == {"on": False, "decided_by": "user"}


def test_tensorflow_obeys():
    """What is said is what TensorFlow itself says, which has no public function for it."""
    code = """
import json, logging
logging.basicConfig(format="%(message)s", level=logging.INFO)
from acl_tf.startup import start_tensorflow
start_tensorflow()
from acl_tf import onednn
from tensorflow.python.util import _pywrap_util_port
print(json.dumps([onednn.decision(), _pywrap_util_port.IsMklEnabled()]))
"""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in (onednn.VARIABLE, onednn.OWN, "TF_CPP_MIN_LOG_LEVEL")
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [BY_ACL_TF, True]
    assert "; oneDNN on: TF_ENABLE_ONEDNN_OPTS=1, set by acl-tf\n" in done.stderr
