"""Command lines, run in process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from acl_tf.cli import run
from tests.hub.conftest import go_offline, hub, log_in, model_folder, written_model  # noqa: F401

# As little training as makes a run: two steps, and a checkpoint after each.
TINY = ["--variant", "s2s", "--arch", "resnet10", "--width", "0.0625", "--epochs", "1", "--batch-size", "4"]
TINY += ["--set", "model.projection_blocks=2", "--set", "training.checkpoint_steps=1"]

Fail = Callable[..., tuple[int, str]]


@pytest.fixture
def fail(capsys) -> Fail:
    """Runs a command that must fail; returns its exit code and the one line that it says."""

    def call(*arguments: str | Path) -> tuple[int, str]:
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        said = [line for line in err.splitlines() if not line.startswith("acl-tf: run folder ")]
        assert out == "" and len(said) == 1, err
        return code, said[0]

    return call


@pytest.fixture(scope="session")
def noise(tmp_path_factory) -> Path:
    """Returns eleven images of 8x8 pixels."""
    file = tmp_path_factory.mktemp("data") / "noise.npz"
    np.savez(file, images=np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), np.uint8))
    return file


@pytest.fixture(scope="session")
def finished(noise, tmp_path_factory) -> Path:
    """Returns a finished run, which tests must not change."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert run(["pretrain", *TINY, "--dataset", str(noise), "--output", str(folder)]) == 0
    return folder
