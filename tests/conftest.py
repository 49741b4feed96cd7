"""What all tests share. Nothing heavy is imported here: tests of the command line start without TensorFlow."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# Read once, at the first import of Keras and TensorFlow, and of huggingface_hub: no test asks the real Hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as acl-tf does for its users

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ACL_TF_SHARED", ROOT.parent / "shared"))

# The same examples in every run, and no complaint about a first call that traces a graph.
hypothesis.settings.register_profile("acl_tf", deadline=None, derandomize=True, database=None, max_examples=20)
hypothesis.settings.load_profile("acl_tf")


def pytest_collection_finish() -> None:
    """Lets the garbage collector rest: it would go through all of TensorFlow again and again."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def shared(*parts: str) -> Path:
    """Returns a path below the shared folder, or skips the test and says where it was looked for."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"nothing at {path}; ACL_TF_SHARED names the folder that should hold {'/'.join(parts)}")
    return path


@pytest.fixture(scope="session")
def parity() -> dict[str, np.ndarray]:
    """Returns numbers that the authors' PyTorch code computed."""
    with np.load(shared("parity", "acl.npz")) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def autoattack_parity() -> dict[str, np.ndarray]:
    """Returns a fine-tuned model of the authors, and the results of AutoAttack on it."""
    with np.load(shared("parity", "autoattack.npz")) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def cifar10_dir() -> Path:
    """Returns the data directory that holds CIFAR-10 as TFDS prepares it."""
    return shared("tensorflow_datasets", "cifar10").parent


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch) -> None:
    """Removes the width of a terminal, which pytest-xdist gives to its workers and which cuts tables."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def restored_dtype_policy() -> Iterator[None]:
    """Undoes what a test did to the dtype policy."""
    yield
    if "keras" in sys.modules:
        import keras

        keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def run_python() -> Callable[[str], str]:
    """Runs code in a new interpreter, from the root of the repository, and returns what it prints."""

    def run(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"exit code {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False)
        return done.stdout

    return run
