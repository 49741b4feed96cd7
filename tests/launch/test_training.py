"""A real pre-training by two workers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.launch.test_supervisor import runs, wait_until

pytestmark = pytest.mark.slow

# Twenty-four steps, four to the epoch.
TINY = ["--dataset", "digits", "--arch", "resnet10", "--width", "0.0625", "--batch-size", "16", "--epochs", "6"]
TINY += ["--set", "data.limit=64"]
TINY += ["--set", "attack.steps=1", "--set", "training.checkpoint_steps=1"]


def launch(folder: Path) -> subprocess.Popen:
    """Starts a launcher; where it keeps silent, `communicate` tells why."""
    command = [sys.executable, "-m", "acl_tf", "launch", "--workers", "2", "--startup-timeout", "120", "--", "pretrain"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [*command, *TINY, "--output", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=(folder.with_suffix(".log")).open("w"),
        text=True,
    )


def weights(folder: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / "model" / "paired.safetensors")


def worker(launcher: subprocess.Popen, index: int) -> int:
    """Returns the process of a worker; they were started in this order."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    return sorted(map(int, children))[index]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    process = launch(folder)
    out, _ = process.communicate()
    said = folder.with_suffix(".log").read_text()
    assert (process.returncode, out) == (0, f"{folder}/model\n"), said
    assert all(line.startswith(("[0] ", "[1] ")) for line in said.splitlines())
    return folder


def test_workers_are_killed(whole, tmp_path):
    """One after the other; each time both go on, and end where they would have ended."""
    folder = tmp_path / "run"
    process = launch(folder)
    for index, step in ((0, 3), (1, 12)):
        wait_until(lambda: process.poll() is not None or newest(folder) >= step)  # noqa: B023
        os.kill(worker(process, index), signal.SIGKILL)
    out, _ = process.communicate()
    said = folder.with_suffix(".log").read_text()
    assert (process.returncode, out) == (0, f"{folder}/model\n"), said
    for index in (0, 1):
        assert (
            f"acl-tf: worker {index} was killed by SIGKILL; attempt {index + 2} of 3 continues from the last checkpoint"
        ) in said
    assert said.count("[0] acl-tf: Going on after step ") == 2
    mine, theirs = weights(folder), weights(whole)
    assert mine.keys() == theirs.keys()
    assert max(np.abs(mine[name] - theirs[name]).max() for name in mine) == 0


def newest(folder: Path) -> int:
    """Returns the step of the newest checkpoint."""
    return max((int(path.name.removeprefix("step-")) for path in folder.glob("checkpoints/step-*")), default=0)


def test_interrupted(tmp_path):
    folder = tmp_path / "run"
    process = launch(folder)
    wait_until(lambda: process.poll() is not None or newest(folder) >= 2)
    workers = [worker(process, index) for index in (0, 1)]
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
    said = folder.with_suffix(".log").read_text()
    assert (process.returncode, out) == (143, ""), said
    assert f"Interrupted by SIGTERM after step {newest(folder)}, saved as " in said
    assert not any(runs(pid) for pid in workers)
    assert "attempt 2" not in said
