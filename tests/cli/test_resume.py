"""Runs that are killed, interrupted or short of disk go on exactly: real processes, and the same bytes at the end."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from acl_tf.training.metrics_log import read_metrics
from tests.training.disk import SmallDisk

pytestmark = pytest.mark.slow

# Thirty steps of ten to the epoch. Rows and checkpoints come at steps that do not divide one another.
DIGITS = [
    "--dataset",
    "digits",
    "--arch",
    "resnet10",
    "--width",
    "0.0625",
    "--epochs",
    "3",
    "--batch-size",
    "16",
    "--set",
    "data.limit=168",
]
DIGITS += ["--set", "attack.steps=1", "--set", "training.checkpoint_steps=3", "--set", "training.log_steps=2"]


class Run:
    """A run folder, and the processes that work in it."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.folder = folder
        self.command = [sys.executable, "-m", "acl_tf", "pretrain", "--variant", "ds", *arguments]
        self.command += ["--output", str(folder)]
        self.log = folder.with_suffix(".log")

    def start(self, *more: str) -> subprocess.Popen:
        with self.log.open("a") as log:
            return subprocess.Popen([*self.command, *more], cwd=self.folder.parent, stdout=log, stderr=log)

    def finish(self, *more: str) -> "Run":
        assert self.start(*more).wait() == 0, self.log.read_text()
        return self

    def stop_when(self, ready: Callable[[], bool], number: signal.Signals, delay: float = 0.0) -> int:
        """Resumes, sends a signal some time after `ready` says so, and returns the exit code."""
        process = self.start("--resume")
        while process.poll() is None and not ready():
            time.sleep(0.0005)
        time.sleep(delay)
        assert process.poll() is None, f"it ended before it could be stopped:\n{self.log.read_text()}"
        process.send_signal(number)
        return process.wait()

    def checkpoints(self) -> list[int]:
        return [int(path.name.removeprefix("step-")) for path in sorted(self.folder.glob("checkpoints/step-*"))]

    def rows(self) -> list[dict]:
        return read_metrics(self.folder / "metrics.jsonl")

    def measurements(self) -> list[dict]:
        """All rows, without what depends on the speed of the machine."""
        return [{name: value for name, value in row.items() if name != "images_per_second"} for row in self.rows()]

    def last_step(self) -> int:
        return max((row["step"] for row in self.rows()), default=0)

    def status(self) -> str:
        return json.loads((self.folder / "run.json").read_text())["status"]

    def weights(self) -> dict[str, np.ndarray]:
        return safetensors.numpy.load_file(self.folder / "model" / "paired.safetensors")

    def half_written(self, pattern: str) -> bool:
        return any(self.folder.glob(pattern))


def assert_same_run(run: Run, whole: Run) -> None:
    mine, theirs = run.weights(), whole.weights()
    assert mine.keys() == theirs.keys()
    difference = {name: np.abs(mine[name] - theirs[name]).max() for name in mine}
    assert max(difference.values()) == 0, difference
    assert run.measurements() == whole.measurements()
    assert "Traceback" not in run.log.read_text()
    leftovers = [*run.folder.glob(".*.tmp"), *run.folder.glob(".*.old"), *run.folder.glob("checkpoints/.*")]
    assert leftovers == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    """The uninterrupted run, and how long it took."""
    run = Run(tmp_path_factory.mktemp("whole") / "whole", DIGITS)
    begin = time.monotonic()
    run.finish()
    run.seconds = time.monotonic() - begin
    assert [row["step"] for row in run.rows()] == list(range(2, 31, 2))
    return run


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path / "run", DIGITS)


@pytest.fixture
def chance() -> random.Random:
    """Random moments, which are others in every run of the tests; the seed is shown where a test fails."""
    seed = int(os.environ.get("ACL_TF_TEST_SEED", time.time_ns() % 10**9))
    print(f"ACL_TF_TEST_SEED={seed}")
    return random.Random(seed)


def test_killed_at_any_moment(run, whole, chance):
    def kill(what: str, ready: Callable[[], bool], delay: float = 0.0) -> None:
        assert run.stop_when(ready, signal.SIGKILL, delay) == -signal.SIGKILL
        print(f"{what}: killed after step {run.last_step()}, checkpoints {run.checkpoints()}")

    def steps(count: int) -> Callable[[], bool]:
        return lambda: run.last_step() >= count

    kill("before it could save", lambda: run.half_written("run.json"), chance.uniform(0, min(5, 0.3 * whole.seconds)))
    kill("in mid-step", steps(4), chance.uniform(0, 0.1))
    kill("in mid-checkpoint", lambda: run.half_written("checkpoints/.step-*") and run.last_step() >= 10)
    kill("in mid-epoch", steps(16), chance.uniform(0, 0.2))
    kill("while it wrote the model", lambda: run.half_written(".model.*.tmp"))
    run.finish("--resume")
    assert_same_run(run, whole)
    assert run.status() == "finished"


def test_interrupted(run, whole, chance):
    """By one signal, and by the other after it went on."""
    first = interrupt(run, signal.SIGINT, 130, chance.randrange(2, 10), chance)
    second = interrupt(run, signal.SIGTERM, 143, first + chance.randrange(2, 10), chance)
    run.finish("--resume")
    said = run.log.read_text().splitlines()
    assert [line for line in said if "Going on after" in line] == [
        f"acl-tf: Going on after step {step} of 30" for step in (first, second)
    ]
    assert_same_run(run, whole)


def interrupt(run: Run, number: signal.Signals, exit_code: int, wanted: int, chance: random.Random) -> int:
    """Interrupts a run after some step at least, and returns the step that it saved."""
    assert run.stop_when(lambda: run.last_step() >= wanted, number, chance.uniform(0, 0.1)) == exit_code
    step = run.checkpoints()[-1]
    assert step >= wanted
    assert run.status() == "interrupted"
    assert run.log.read_text().splitlines()[-1] == (
        f"acl-tf: error: Interrupted by {number.name} after step {step}, saved as "
        f"{run.folder}/checkpoints/step-{step:08d}. Go on by the same command with --resume."
    )
    return step


def test_a_truncated_checkpoint(run, whole):
    assert run.stop_when(lambda: run.last_step() >= 14, signal.SIGKILL) == -signal.SIGKILL
    *_, before, newest = run.checkpoints()
    path = run.folder / "checkpoints" / f"step-{newest:08d}"
    data = next(path.glob("*.data-*"))
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    run.finish("--resume")
    said = run.log.read_text().splitlines()
    (warning,) = [line for line in said if "cannot be read" in line]
    assert re.fullmatch(rf"acl-tf: The checkpoint {path} cannot be read \(.+\); trying the one before it\.", warning)
    assert f"acl-tf: Going on after step {before} of 30" in said
    assert_same_run(run, whole)


def test_a_full_disk(whole, tmp_path):
    disk = SmallDisk(tmp_path / "disk")
    checkpoint = whole.folder / "checkpoints" / "step-00000030"
    size = sum(file.stat().st_size for file in checkpoint.iterdir())
    with disk.mounted(int(2.7 * size)):
        run = Run(disk.path / "run", DIGITS)
        run.log = tmp_path / "run.log"
        assert run.start().wait() == 1
        assert run.log.read_text().splitlines()[-1] == (
            f"acl-tf: error: Cannot write the checkpoint of step 9 to {run.folder}/checkpoints: "
            "No space left on device. step-00000006 is kept; make room and go on with --resume."
        )
        assert run.checkpoints() == [3, 6] and run.status() == "failed"
        disk.resize(100 * size)
        run.finish("--resume")
        assert "acl-tf: Going on after step 6 of 30" in run.log.read_text()
        assert_same_run(run, whole)


def test_cifar10(cifar10_dir, tmp_path, chance):
    """The command of the main job, with less of everything, killed at a random moment."""
    arguments = ["--dataset", "cifar10", "--data-dir", str(cifar10_dir), "--arch", "resnet10", "--width", "0.125"]
    arguments += ["--epochs", "1", "--set", "data.limit=256", "--batch-size", "64", "--set", "attack.steps=2"]
    arguments += ["--set", "training.checkpoint_steps=1", "--set", "training.log_steps=1"]
    whole = Run(tmp_path / "whole", arguments)
    begin = time.monotonic()
    whole.finish()
    seconds = time.monotonic() - begin
    run = Run(tmp_path / "run", arguments)
    process = run.start("--resume")
    try:
        process.wait(chance.uniform(0.4, 0.9) * seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    print(f"exit code {process.wait()}, checkpoints {run.checkpoints()}")
    run.finish("--resume")
    assert_same_run(run, whole)
