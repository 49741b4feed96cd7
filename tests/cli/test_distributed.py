"""Commands on several devices and in several processes, as users start them: what they compute, leave and say."""

import contextlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from acl_tf.cli import run
from acl_tf.records import read_file
from acl_tf.training.metrics_log import read_metrics
from tests.evaluate.scenes import kept
from tests.training.cluster import call, printed, tf_configs

pytestmark = pytest.mark.slow

# Sixteen steps, with a checkpoint and a row after each.
PRETRAIN = ["pretrain", "--variant", "a2a", "--dataset", "digits", "--arch", "resnet10", "--width", "0.0625"]
PRETRAIN += [
    "--batch-size",
    "16",
    "--epochs",
    "4",
    "--precision",
    "float64",
    "--set",
    "data.limit=64",
    "--set",
    "attack.steps=1",
]
PRETRAIN += ["--set", "training.checkpoint_steps=1", "--set", "training.log_steps=1", "--output", "run"]
LITTLE = ["--epochs", "1", "--set", "data.limit=96", "--set", "attack.steps=1", "--set", "validation.steps=1"]
LITTLE += ["--set", "validation.images=16", "--precision", "float64", "--output", "run"]
FINETUNE = [*LITTLE, "--batch-size", "16"]
SEMI_SUPERVISED = [*LITTLE, "--labels", "16", "--teacher-epochs", "1", "--set", "teacher.batch_size=8"]
SEMI_SUPERVISED += ["--set", "distillation.labelled_per_batch=4", "--set", "distillation.unlabelled_per_batch=12"]
EVALUATE = ["--attack", "none", "--attack", "pgd:epsilon=0.05,steps=2,restarts=2", "--limit", "50"]
EVALUATE += ["--batch-size", "16", "--output", "evaluation", "--json", "records.json"]
MIRRORED = ["--strategy", "mirrored", "--devices", "cpu:2"]


class Process:
    """A command, at work in a folder of its own."""

    def __init__(self, folder: Path, arguments: Sequence[str], tf_config: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.run = folder / "run"
        self.log = folder / "log"
        self.begin = self.log.stat().st_size if self.log.exists() else 0
        # As users have it: without the level at which the other tests hear nothing of TensorFlow.
        environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
        environment |= {"TF_CONFIG": tf_config} if tf_config else {}
        with self.log.open("a") as log:
            command = [sys.executable, "-m", "acl_tf", *arguments]
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)

    def said(self) -> list[str]:
        """Returns the lines since this command began."""
        return self.log.read_text()[self.begin :].splitlines()

    def exit_code(self, timeout: float = 600) -> int:
        code = self.process.wait(timeout)
        assert "Traceback" not in "\n".join(self.said()), "\n".join(self.said())
        return code

    def finish(self) -> "Process":
        assert self.exit_code() == 0, "\n".join(self.said())
        return self

    def steps(self) -> list[int]:
        return sorted(int(path.name.removeprefix("step-")) for path in self.run.glob("checkpoints/step-*"))

    def wait_for_step(self, step: int) -> None:
        while max(self.steps(), default=0) < step:
            assert self.process.poll() is None, "\n".join(self.said())
            time.sleep(0.001)


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Starts processes, none of which outlives the test."""
    started: list[Process] = []

    def of(*arguments) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield of
    for process in started:
        process.process.kill()
        process.process.wait()


def two_workers(
    folder: Path,
    arguments: Sequence[str],
    make: Callable[..., Process] = Process,
) -> tuple[Process, Process]:
    """Starts two workers, in folders of their own, as on hosts that share no disk."""
    first, second = tf_configs("worker", "worker")
    folder.mkdir(exist_ok=True)
    return make(folder / "0", arguments, first), make(folder / "1", arguments, second)


def state(run: Path) -> dict[str, np.ndarray]:
    """What the newest checkpoint holds."""
    newest = sorted(run.glob("checkpoints/step-*"))[-1]
    assert newest.name == "step-00000016"
    reader = tf.train.load_checkpoint(str(newest / "state"))
    return {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if not name.startswith("_CHECK")
    }


def measurements(run: Path) -> list[dict]:
    """All rows, without what depends on the speed of the machine."""
    rows = read_metrics(run / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


def assert_equal(run: Path, expected: Path, tolerance: float = 1e-10) -> None:
    """Every entry differs by that part of the largest one at most."""
    mine, theirs = state(run), state(expected)
    assert mine.keys() == theirs.keys()
    off = {}
    for name, value in theirs.items():
        if value.dtype.kind not in "fiu":
            continue
        # The true gradient of a bias before batch normalisation is 0: what there is of it are rounding errors.
        largest = max(np.abs(value).max(initial=0.0), 0.01)
        difference = np.abs(mine[name] - value).max(initial=0.0)
        if not difference <= largest * (tolerance if value.dtype == np.float64 else 1e-6 * bool(tolerance)):
            off[name] = difference, largest
    assert off == {}
    for row, other in zip(measurements(run), measurements(expected), strict=True):
        assert row == pytest.approx(other, rel=1e-5 if tolerance else 0)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Process:
    """The undisturbed run on one device."""
    return Process(tmp_path_factory.mktemp("alone"), PRETRAIN).finish()


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> tuple[Process, Process]:
    """The undisturbed run in two processes."""
    processes = two_workers(tmp_path_factory.mktemp("together"), PRETRAIN)
    for process in processes:
        process.finish()
    return processes


@pytest.fixture(scope="module")
def classifier(alone, tmp_path_factory) -> Process:
    """A run of fine-tuning on one device."""
    return Process(tmp_path_factory.mktemp("classifier"), ["finetune", str(alone.run), *FINETUNE]).finish()


@pytest.fixture
def chance() -> random.Random:
    """Random moments, which are others in every run of the tests; the seed is shown where a test fails."""
    seed = int(os.environ.get("ACL_TF_TEST_SEED", time.time_ns() % 10**9))
    print(f"ACL_TF_TEST_SEED={seed}")
    return random.Random(seed)


# What is computed


def test_two_replicas_of_one_process(alone, tmp_path):
    process = Process(tmp_path / "mirrored", [*PRETRAIN, *MIRRORED]).finish()
    assert_equal(process.run, alone.run)
    assert "acl-tf: 2 replicas" in process.said()
    about = json.loads((process.run / "run.json").read_text())
    assert (about["strategy"], about["replicas"], about["workers"]) == ("mirrored", 2, 1)


def test_two_workers(alone, together):
    chief = together[0]
    assert_equal(chief.run, alone.run)
    for number, process in enumerate(together):
        assert f"acl-tf: worker {number} of 2, 2 replicas in all" in process.said()
    about = json.loads((chief.run / "run.json").read_text())
    assert (about["replicas"], about["workers"], about["status"]) == (2, 2, "finished")


def test_the_chief_alone_writes(together):
    chief, other = together
    assert [file.name for file in other.folder.iterdir()] == ["log"]
    assert (chief.run / "model" / "model.keras").exists()
    assert chief.said()[-1] == "run/model" and "run/model" not in other.said()


def assert_same_classifier(run: Path, expected: Path) -> None:
    """In float64 a classifier is still float32, and with it the sign of a gradient near 0."""
    rows, other_rows = measurements(run), measurements(expected)
    assert len(rows) > 0
    for row, other in zip(rows, other_rows, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-5)
    for model in ("model", "model_last"):
        values, other_values = (
            [record["value"] for record in read_file(path / model / "records.jsonl")] for path in (run, expected)
        )
        assert values == other_values and len(values) == 2


def test_finetune_on_two_replicas_of_one_process(alone, classifier, start, tmp_path):
    process = start(tmp_path / "mirrored", ["finetune", str(alone.run), *FINETUNE, *MIRRORED])
    assert process.exit_code() == 0, process.said()
    assert_same_classifier(process.run, classifier.run)


def test_finetune_with_two_workers(alone, classifier, start, tmp_path):
    chief, other = two_workers(tmp_path, ["finetune", str(alone.run), *FINETUNE], start)
    assert (chief.exit_code(), other.exit_code()) == (0, 0), chief.said() + other.said()
    assert [file.name for file in other.folder.iterdir()] == ["log"]
    assert_same_classifier(chief.run, classifier.run)


def test_semi_supervised_with_two_workers(alone, start, tmp_path):
    arguments = ["semi-supervised", str(alone.run), *SEMI_SUPERVISED]
    single = start(tmp_path / "single", arguments)
    assert single.exit_code() == 0, single.said()
    chief, other = two_workers(tmp_path, arguments, start)
    assert (chief.exit_code(), other.exit_code()) == (0, 0), chief.said() + other.said()
    assert [file.name for file in other.folder.iterdir()] == ["log"]
    for part in (".", "teacher"):
        assert_same_classifier(chief.run / part, single.run / part)


def test_evaluate_measures_the_same_everywhere(classifier, start, tmp_path):
    arguments = ["evaluate", str(classifier.run), *EVALUATE]
    single, mirrored = start(tmp_path / "single", arguments), start(tmp_path / "mirrored", [*arguments, *MIRRORED])
    codes = single.exit_code(), mirrored.exit_code()
    assert codes == (0, 0), single.said() + mirrored.said()
    chief, other = two_workers(tmp_path, arguments, start)
    assert (chief.exit_code(), other.exit_code()) == (0, 0), chief.said() + other.said()
    assert [file.name for file in other.folder.iterdir()] == ["log"]
    records = {
        process.folder.name: [kept(record) for record in json.loads((process.folder / "records.json").read_text())]
        for process in (single, mirrored, chief)
    }
    assert [record["n"] for record in records["single"]] == [50, 50]
    assert records["mirrored"] == records["single"]
    assert records["0"] == records["single"]


# Going on


def test_a_run_goes_on_on_other_devices(alone, start, tmp_path):
    """One device, then two, then two processes."""
    first = start(tmp_path / "0", PRETRAIN)
    first.wait_for_step(2)
    first.process.kill()
    first.process.wait()
    reached = first.steps()[-1]
    second = start(tmp_path / "0", [*PRETRAIN, *MIRRORED, "--resume"])
    second.wait_for_step(reached + 2)
    second.process.kill()
    second.process.wait()
    assert f"acl-tf: Going on after step {reached} of 16" in second.said()
    reached = second.steps()[-1]
    assert reached < 16
    chief, other = two_workers(tmp_path, [*PRETRAIN, "--resume"], start)
    assert (chief.exit_code(), other.exit_code()) == (0, 0), chief.said() + other.said()
    for process in (chief, other):
        assert f"acl-tf: Going on after step {reached} of 16" in process.said()
    assert_equal(chief.run, alone.run)


def test_workers_are_killed_and_interrupted(together, start, chance, tmp_path):
    """The other ends by itself, in one line; started again, both go on, and end where they would have ended."""
    command, reached = [*PRETRAIN, "--resume"], 0
    for victim in (0, 1):
        processes = two_workers(tmp_path, command, start)
        processes[0].wait_for_step(reached + chance.randrange(1, 4))
        time.sleep(chance.uniform(0, 0.05))
        processes[victim].process.kill()
        begin = time.monotonic()
        assert processes[1 - victim].exit_code(timeout=60) == 1
        assert processes[victim].exit_code() == -signal.SIGKILL
        reached = processes[0].steps()[-1]
        print(f"ended after {time.monotonic() - begin:.1f} s, step {reached}")
        (error,) = errors(processes[1 - victim])
        assert error.startswith(
            f"acl-tf: error: Worker {1 - victim} of 2 has lost another one, or cannot go on itself. Start all of them "
            "again with --resume; the output of the one that ended first says why. Received: "
        )
    processes = two_workers(tmp_path, command, start)
    processes[0].wait_for_step(reached + 1)
    processes[1].process.send_signal(signal.SIGTERM)
    assert [process.exit_code(timeout=60) for process in processes] == [143, 143], processes[0].said()
    step = processes[0].steps()[-1]
    assert step > reached
    again = "Go on by the same command with --resume."
    saved = f"Interrupted by SIGTERM after step {step}, saved"
    assert errors(processes[0]) == [f"acl-tf: error: {saved} as run/checkpoints/step-{step:08d}. {again}"]
    assert errors(processes[1]) == [f"acl-tf: error: {saved} by worker 0. {again}"]
    assert json.loads((processes[0].run / "run.json").read_text())["status"] == "interrupted"
    processes = two_workers(tmp_path, command, start)
    assert [process.exit_code() for process in processes] == [0, 0], processes[0].said() + processes[1].said()
    assert_equal(processes[0].run, together[0].run, tolerance=0)


def errors(process: Process) -> list[str]:
    return [line for line in process.said() if line.startswith("acl-tf: error: ")]


# What is wrong


NOTES = ("acl-tf: run folder ", "acl-tf: TensorFlow ", "acl-tf: worker ", "acl-tf: 2 replicas")


def told(process: Process) -> list[str]:
    """What a command says beside what every command says; all that it says."""
    return [line for line in process.said() if not line.startswith(NOTES)]


# Arguments, TF_CONFIG, and what is said of them.
WRONG: dict[str, tuple[list[str], str, str]] = {
    "batch size": (
        ["--batch-size", "15", *MIRRORED],
        "",
        "The global batch size must be divisible by the number of replicas, 2. Received: 15",
    ),
    "jit": (["--jit", *MIRRORED], "", "--jit works on one device. Received: 2 replicas"),
    "devices": (
        ["--devices", "3"],
        "",
        "TensorFlow sees 0 GPUs here (TF_CPP_MIN_LOG_LEVEL=0 shows why; cpu:3 splits the CPU instead). "
        "Received: --devices 3",
    ),
    "no cluster": (
        ["--strategy", "multiworker"],
        "",
        "--strategy multiworker needs several workers in TF_CONFIG, or a SLURM step of several tasks; acl-tf "
        "launch starts some on this machine. Received: neither",
    ),
    "TF_CONFIG": (
        [],
        '{"cluster": {"worker": ["a:1", "b:2"]}}',
        'TF_CONFIG must look like {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", '
        '"index": 0}}. Received: {"cluster": {"worker": ["a:1", "b:2"]}} (\'task\')',
    ),
}


def type_what_is_wrong(folder: str) -> None:
    """Runs each wrong command in a folder, and prints its exit code and what it says, as JSON."""
    os.chdir(folder)
    answers = {}
    for name, (arguments, tf_config, _) in WRONG.items():
        os.environ["TF_CONFIG"] = tf_config
        with contextlib.redirect_stderr(io.StringIO()) as said:
            answers[name] = run([*PRETRAIN, *arguments]), said.getvalue().splitlines()
    print(json.dumps(answers))


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, tuple[int, list[str]]]:
    """What is answered to each wrong command; on several devices TensorFlow needs a process of its own."""
    return json.loads(printed(call(type_what_is_wrong, str(tmp_path_factory.mktemp("wrong"))))[0])


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_command(wrong, answers):
    code, said = answers[wrong]
    assert code == 2
    assert [line for line in said if not line.startswith(NOTES)] == [f"acl-tf: error: {WRONG[wrong][2]}"]


def test_a_worker_without_its_images(start, tmp_path):
    file = tmp_path / "images.npz"
    np.savez(file, images=np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8))
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "images.npz").write_bytes(file.read_bytes())
    processes = two_workers(tmp_path, [*PRETRAIN, "--dataset", "images.npz"], start)
    assert [process.exit_code(timeout=300) for process in processes] == [1, 1]
    assert told(processes[0]) == ["acl-tf: error: Worker 1 of 2 has failed; its own output says why."]
    (own,) = told(processes[1])
    assert own.startswith("acl-tf: error: ") and "images.npz" in own


def test_a_run_folder_that_is_taken(start, tmp_path):
    """Only the chief knows."""
    (tmp_path / "0" / "run").mkdir(parents=True)
    (tmp_path / "0" / "run" / "mine.txt").touch()
    processes = two_workers(tmp_path, PRETRAIN, start)
    assert [process.exit_code(timeout=300) for process in processes] == [2, 2]
    assert told(processes[0]) == [
        "acl-tf: error: The output folder is not empty and holds no run; choose another --output. Received: run"
    ]
    assert told(processes[1]) == ["acl-tf: error: Worker 0 of 2 has failed; its own output says why."]


def test_a_worker_that_does_not_come(start, tmp_path):
    configuration = json.loads(tf_configs("worker", "worker")[0])
    for index in range(2):
        configuration["task"]["index"] = index
        process = start(tmp_path / str(index), [*PRETRAIN, "--startup-timeout", "8"], json.dumps(configuration))
        assert process.exit_code(timeout=300) == 1
        assert told(process) == [
            "acl-tf: error: 1 of 2 workers did not come within 8 s (--startup-timeout). "
            f"Received: no answer from {configuration['cluster']['worker'][1 - index]}"
        ]


def test_a_port_that_is_in_use(start, tmp_path):
    configuration = json.loads(tf_configs("worker", "worker")[0])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        configuration["cluster"]["worker"][0] = address
        process = start(tmp_path / "0", [*PRETRAIN, "--startup-timeout", "30"], json.dumps(configuration))
        assert process.exit_code(timeout=300) == 1
    assert told(process) == [
        "acl-tf: error: This worker cannot listen at its port: Address already in use; choose another one in "
        f"TF_CONFIG. Received: {address}"
    ]
