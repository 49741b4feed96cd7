"""The SavedModel where tensorflow-addons still is: TensorFlow 2.15, in a virtual environment of its own.

`ACL_TF_TF215_PYTHON` names a Python that has `requirements/interop-tf215.txt` already; else it is installed here.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.export.test_saved_model import encoded, gradual
from tests.export.tiny import FLOATS, IMAGES, difference

pytestmark = [pytest.mark.slow, pytest.mark.interop]

REQUIREMENTS = ROOT / "requirements" / "interop-tf215.txt"
SCRIPT = Path(__file__).with_name("tf215_finetune.py")
VERSION = "import sys; print(*sys.version_info[:2], sep='.')"


def python311() -> str | None:
    """A Python 3.11: this one, or one of that name that runs."""
    for command in (sys.executable, shutil.which("python3.11")):
        if command and run([command, "-c", VERSION]).stdout.strip() == "3.11":
            return command
    return None


def run(command: list[object], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def python215(tmp_path_factory) -> Iterator[str]:
    ready = os.environ.get("ACL_TF_TF215_PYTHON")
    if ready:
        yield ready
        return
    base = python311()
    if base is None:
        pytest.skip("TensorFlow 2.15 needs Python 3.11, and no python3.11 was found; ACL_TF_TF215_PYTHON may name one")
    folder = tmp_path_factory.mktemp("tf215") / "venv"
    for command in (
        [base, "-m", "venv", folder],
        [folder / "bin" / "pip", "--disable-pip-version-check", "install", "--quiet", "-r", REQUIREMENTS],
    ):
        done = run(command)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            said = (done.stderr or done.stdout).strip().splitlines()
            pytest.skip(f"TensorFlow 2.15 could not be installed: {said[-1] if said else command}")
    yield str(folder / "bin" / "python")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def large() -> bytes:
    return encoded(gradual(80, 60), "jpeg")


@pytest.fixture(scope="session")
def found(python215, saved_trainable, large, tmp_path_factory):
    """What TensorFlow 2.15 computed."""
    folder = tmp_path_factory.mktemp("interop")
    labels, files = np.arange(len(IMAGES)) % 3, np.frombuffer(large, np.uint8)
    np.savez(folder / "inputs.npz", images=FLOATS, pixels=IMAGES, labels=labels, large=files)
    command = [python215, "-I", SCRIPT, saved_trainable, folder / "inputs.npz", folder / "outputs.npz"]
    done = run(command, TF_ENABLE_ONEDNN_OPTS="0")
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "outputs.npz") as arrays:
        return dict(arrays)


def test_versions(found):
    assert found["tensorflow"] == "2.15.1" and found["tensorflow_addons"] == "0.23.0"


@pytest.mark.parametrize("signature", ["serving_default", "uint8", "image_bytes", "call"])
def test_outputs_are_those_of_the_keras_model(found, classifier, signature):
    assert difference(found[signature], classifier(FLOATS)) < 1e-5


def test_files_are_decoded_and_resized_alike(found, saved_trainable, large):
    import tensorflow as tf

    signature = tf.saved_model.load(str(saved_trainable)).signatures["image_bytes"]
    assert difference(found["large"], signature(tf.constant([large]))["logits"]) < 1e-5


def test_lamb_fine_tunes_it(found, classifier):
    losses = found["losses"]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.7 * losses[0]
    assert found["changed"].all()  # every weight, and every statistic of batch normalisation
    assert found["trainable"] == len(classifier.trainable_variables) < len(found["changed"])


def test_what_is_served_afterwards_is_the_fine_tuned_model(found, classifier):
    assert difference(found["tuned"], found["tuned_call"]) < 1e-5
    # How much better it is cannot be asked here: the moving statistics lag behind so few steps.
    assert difference(found["tuned"], classifier(FLOATS)) > 0.1


def test_its_c_api_runs_it(python215, saved_classifier, classifier, monkeypatch):
    from tests.export import test_c_api

    code = "import importlib.util as u; print(u.find_spec('tensorflow').submodule_search_locations[0])"
    monkeypatch.setattr(test_c_api, "LIBRARIES", run([python215, "-c", code]).stdout.strip())
    floats, pixels = test_c_api.ask(saved_classifier, [("serving_default", FLOATS), ("uint8", IMAGES)])
    assert difference(floats["logits"], classifier(FLOATS)) < 1e-5
    assert difference(pixels["logits"], classifier(FLOATS)) < 1e-5
