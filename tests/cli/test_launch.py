"""The launcher as users meet it: a process of its own, real signals, and workers that run code of the test."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.launch.test_supervisor import runs, wait_until

# In the workers' place of acl_tf: it runs its last argument.
WORKER = """
import json, os, signal, sys, time
from pathlib import Path

name, *options, code = sys.argv[1:]
task = json.loads(os.environ["TF_CONFIG"])
index, folder = task["task"]["index"], Path.cwd()

def say(*what):
    print(*what, file=sys.stderr, flush=True)

def wait_for(name):
    while not (folder / name).exists(): time.sleep(0.01)

def note(number, frame):
    say(signal.Signals(number).name)

exec(code)
"""
# The launcher itself runs the real acl_tf; what it starts finds the other one first.
LAUNCHER = "import os, sys, acl_tf.cli; os.environ['PYTHONPATH'] = sys.argv.pop(1); acl_tf.cli.main()"
# Ends at the first SIGINT or SIGTERM, as a training does.
STOPS = """
def stop(number, frame):
    say("saves at", signal.Signals(number).name)
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, stop)
(folder / str(index)).write_text(str(os.getpid()))
time.sleep(600)
"""
# Takes no notice.
GOES_ON = STOPS.replace("sys.exit(128 + number)", "pass")


class Launcher:
    """A folder, and launchers that work in it."""

    def __init__(self, folder: Path, stand_in: Path) -> None:
        self.folder = folder
        self.stand_in = stand_in

    def start(self, *arguments: str, code: str, **how) -> subprocess.Popen:
        command = [sys.executable, "-c", LAUNCHER, str(self.stand_in), "launch", *arguments, code]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **how}
        return subprocess.Popen(command, cwd=self.folder, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, **how)

    def run(self, *arguments: str, code: str) -> tuple[int, str, list[str]]:
        """Returns exit code, stdout and the lines of stderr."""
        process = self.start(*arguments, code=code)
        out, err = process.communicate()
        return process.returncode, out, err.splitlines()

    def pid(self, index: int) -> int:
        """Returns the process of a worker, as soon as it has told."""
        file = self.folder / str(index)
        wait_until(lambda: file.exists() and file.read_text() != "")
        return int(file.read_text())


@pytest.fixture
def launcher(tmp_path) -> Launcher:
    stand_in = tmp_path / "stand_in"
    (stand_in / "acl_tf").mkdir(parents=True)
    (stand_in / "acl_tf" / "__init__.py").touch()
    (stand_in / "acl_tf" / "__main__.py").write_text(WORKER)
    (tmp_path / "folder").mkdir()
    return Launcher(tmp_path / "folder", stand_in)


@pytest.fixture
def two_workers(launcher) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a launcher and returns when its two workers are at work; whatever comes, it does not outlive the test."""
    with contextlib.ExitStack() as started:

        def start(code: str, **how) -> subprocess.Popen:
            process = started.enter_context(launcher.start("--workers", "2", "--", "pretrain", code=code, **how))
            started.callback(process.kill)
            launcher.pid(0), launcher.pid(1)
            return process

        yield start


# What is wrong with a command is said before anything starts


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--", "pretrain"], "Missing option '--workers'."),
        (["--workers", "0", "--", "pretrain"], "Invalid value for '--workers': 0 is not in the range x>=1."),
        (
            ["--workers", "1", "--attempts", "0", "--", "pretrain"],
            "Invalid value for '--attempts': 0 is not in the range x>=1.",
        ),
        (
            ["--workers", "1", "--startup-timeout", "0", "--", "pretrain"],
            "Invalid value for '--startup-timeout': 0.0 is not in the range x>0.",
        ),
        (
            ["--workers", "2"],
            "Name the command to launch, after --. Known: pretrain, finetune, semi-supervised, evaluate. "
            "Received: no command",
        ),
        (
            ["--workers", "2", "--", "eval"],
            'This command cannot be launched; did you mean "evaluate"? '
            "Known: pretrain, finetune, semi-supervised, evaluate. Received: 'eval'",
        ),
        (
            ["--workers", "2", "--", "launch", "--workers", "2"],
            "This command cannot be launched. Known: pretrain, finetune, semi-supervised, evaluate. Received: 'launch'",
        ),
        (
            ["--workers", "2", "pretrain", "--strategy", "mirrored"],
            "Launched workers share one run: leave --strategy out, or make it multiworker. "
            "Received: --strategy mirrored",
        ),
    ],
)
def test_wrong(arguments, message, fail):
    assert fail("launch", *arguments) == (2, f"acl-tf: error: {message}")


def test_more_workers_than_gpus(fail, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    code, said = fail("launch", "--workers", "3", "--", "pretrain")
    assert code == 2 and said.startswith("acl-tf: error: Every worker needs a GPU of its own, and 2 can be seen here;")


def test_tensorflow_stays_out(run_python):
    code = "import sys; from acl_tf.cli import run; run(['launch', '--workers', '1', '--', 'pretrain', '--help']); "
    code += "print(*sorted({'keras', 'numpy', 'tensorflow'} & set(sys.modules)), 'heavy')"
    assert run_python(code).splitlines()[-1] == "heavy"


# Output


def test_output(launcher):
    code, out, err = launcher.run(
        "--workers", "2", "--", "pretrain", "--epochs", "2", code="say(name, *options); print('result of', index)"
    )
    assert code == 0
    assert sorted(out.splitlines()) == ["[1] result of 1", "result of 0"]
    assert sorted(err) == ["[0] pretrain --epochs 2", "[1] pretrain --epochs 2"]


def test_the_result_can_be_taken_by_a_shell(launcher):
    code = "print('runs/a run/model') if index == 0 else say('nothing')"
    assert launcher.run("--workers", "2", "pretrain", code=code) == (0, "runs/a run/model\n", ["[1] nothing"])


def test_the_real_command():
    """With the dashes and without, and the options of the command after its name."""
    whole = ["Usage: acl-tf pretrain [OPTIONS]", "[1] Usage: acl-tf pretrain [OPTIONS]"]
    for dashes in (["--"], []):
        command = [sys.executable, "-m", "acl_tf", "launch", "--workers", "2", *dashes, "pretrain", "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert sorted(line for line in done.stdout.splitlines() if "Usage" in line) == sorted(whole)


def test_lines_come_as_they_are_written(launcher):
    """Those of worker 1 come while worker 0 stands in mid-line."""
    code = """
sys.stderr.write("half") if index == 0 else say("whole")
sys.stderr.flush()
wait_for("end")
"""
    with launcher.start("--workers", "2", "pretrain", code=code) as process:
        assert process.stderr.readline() == "[1] whole\n"
        (launcher.folder / "end").touch()
        assert process.stderr.readline() == "[0] half\n"
    assert process.returncode == 0


def test_what_the_launcher_could_read_is_not_for_the_workers(launcher):
    with launcher.start(
        "--workers", "1", "pretrain", code="print(repr(sys.stdin.read()))", stdin=subprocess.PIPE
    ) as process:
        assert process.communicate("text\n")[0] == "''\n"


def test_a_pipe_that_is_closed(launcher):
    """The run goes on to its end."""
    code = "[print('line') for _ in range(100_000)]; (folder / 'end').touch()"
    read, write = os.pipe()
    os.close(read)
    with launcher.start("--workers", "1", "pretrain", code=code, stdout=write) as process:
        os.close(write)
        assert process.stderr.read() == ""
    assert process.returncode == 1 and (launcher.folder / "end").exists()


def test_environment(launcher):
    code = "say(os.environ['TF_CONFIG']); say(os.environ['TF_NUM_INTRAOP_THREADS'], os.environ['OMP_NUM_THREADS'])"
    code, _, err = launcher.run("--workers", "2", "evaluate", code=code)
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert code == 0 and err.count(f"[0] {threads} {threads}") == err.count(f"[1] {threads} {threads}") == 1
    one, two = (json.loads(line[4:]) for line in sorted(err) if "cluster" in line)
    assert one["cluster"] == two["cluster"] and len(set(one["cluster"]["worker"])) == 2
    assert [each["task"] for each in (one, two)] == [{"type": "worker", "index": index} for index in (0, 1)]


# Workers that die


def test_a_killed_worker(launcher):
    """kill -9 to worker 1; worker 0 notices it; both are started again, on other ports."""
    code = """
(folder / "ports").open("a").write(task["cluster"]["worker"][index] + "\\n")
say(*options)
if "--resume" not in options:
    (folder / str(index)).write_text(str(os.getpid()))
    wait_for("killed")
    sys.exit(1 if index == 0 else 0)
print("model") if index == 0 else None
"""
    with launcher.start("--workers", "2", "pretrain", "--seed", "1", code=code) as process:
        launcher.pid(0)
        os.kill(launcher.pid(1), signal.SIGKILL)
        wait_until(lambda: not runs(launcher.pid(1)))
        time.sleep(0.2)  # worker 0 takes its time to notice, more than the launcher does
        (launcher.folder / "killed").touch()
        out, err = process.communicate()
    assert (process.returncode, out) == (0, "model\n")
    assert sorted(err.splitlines()) == [
        "[0] --resume --seed 1",
        "[0] --seed 1",
        "[1] --resume --seed 1",
        "[1] --seed 1",
        "acl-tf: worker 1 was killed by SIGKILL; attempt 2 of 3 continues from the last checkpoint",
    ]
    assert len(set((launcher.folder / "ports").read_text().split())) == 4


def test_attempts_are_bounded(launcher):
    code, out, err = launcher.run(
        "--workers", "1", "--attempts", "2", "--startup-timeout", "9", "pretrain", code="say(*options); sys.exit(3)"
    )
    assert (code, out) == (1, "")
    assert err == [
        "[0] --startup-timeout 9",
        "acl-tf: worker 0 ended with exit code 3; attempt 2 of 2 continues from the last checkpoint",
        "[0] --resume --startup-timeout 9",
        "acl-tf: error: No attempt is left; see above what the workers say. Go on by the same command with --resume. "
        "Received: worker 0 ended with exit code 3 in attempt 2 of 2",
    ]


def test_resume_is_not_given_twice(launcher):
    code, _, err = launcher.run("--workers", "1", "pretrain", "--resume", code="say(*options); sys.exit(1)")
    assert code == 1 and [line for line in err if line.startswith("[0]")] == ["[0] --resume"] * 3


def test_a_wrong_option(launcher):
    """There is no second attempt, and nobody waits for worker 0."""
    code = "sys.exit(2) if index == 1 else time.sleep(600)"
    assert launcher.run("--workers", "2", "finetune", code=code) == (
        2,
        "",
        ["acl-tf: error: The command is wrong; see above what worker 1 says. "
         "Received: worker 1 ended with exit code 2"],
    )  # fmt: skip


# Signals


@pytest.mark.parametrize("number, exit_code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(two_workers, number, exit_code):
    process = two_workers(STOPS)
    process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, out) == (exit_code, "")
    first, *workers, last = err.splitlines()
    assert first == f"acl-tf: {number.name}: passed on to the workers; once more kills them."
    assert sorted(workers) == [f"[{index}] saves at {number.name}" for index in (0, 1)]
    assert last == f"acl-tf: error: Interrupted by {number.name}. Go on by the same command with --resume."


def test_interrupted_in_a_terminal(two_workers, launcher):
    """Ctrl-C goes to all that belong to the terminal: to the launcher alone, and from there to each worker once."""
    ours, theirs = os.openpty()
    # A process group of its own in a session of its own: what a shell makes of a command line.
    process = two_workers(GOES_ON, stdin=theirs, preexec_fn=lambda: os.login_tty(os.dup(0)))
    os.close(theirs)
    os.write(ours, b"\x03")
    seen = read_until(ours, lambda text: text.count("saves at SIGINT") == 2)
    time.sleep(0.3)
    os.write(ours, b"\x03")
    assert process.wait() == 130
    seen += read_until(ours, lambda text: "Interrupted" in text)
    assert seen.count("saves at SIGINT") == 2
    assert "once more kills them" in seen and "acl-tf: SIGINT: killing the workers." in seen
    assert not runs(launcher.pid(0)) and not runs(launcher.pid(1))


def read_until(terminal: int, enough: Callable[[str], bool]) -> str:
    text = ""
    while not enough(text):
        text += os.read(terminal, 4096).decode()
    return text


def test_workers_may_take_their_time_to_save(two_workers, launcher):
    """One signal, whatever the others do meanwhile."""
    code = STOPS.replace("sys.exit(128 + number)", "index and sys.exit(143); wait_for('saved'); sys.exit(143)")
    process = two_workers(code)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: not runs(launcher.pid(1)))
    time.sleep(0.3)
    assert runs(launcher.pid(0)) and process.poll() is None
    (launcher.folder / "saved").touch()
    assert process.wait() == 143


def test_a_second_signal_kills(two_workers, launcher):
    process = two_workers(GOES_ON)
    process.send_signal(signal.SIGINT)
    while "once more" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 130
    assert not runs(launcher.pid(0)) and not runs(launcher.pid(1))
    assert "acl-tf: SIGTERM: killing the workers." in err


def test_the_launcher_is_killed(two_workers, launcher):
    process = two_workers(GOES_ON)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    wait_until(lambda: not runs(launcher.pid(0)) and not runs(launcher.pid(1)))


def test_an_interrupted_worker_interrupts_all(two_workers, launcher):
    process = two_workers(
        STOPS.replace("time.sleep(600)", "index or wait_for('saved'); index or sys.exit(143)") + STOPS
    )
    os.kill(launcher.pid(1), signal.SIGTERM)
    wait_until(lambda: not runs(launcher.pid(1)))
    (launcher.folder / "saved").touch()
    out, err = process.communicate()
    assert (process.returncode, out) == (143, "")
    assert err.splitlines() == [
        "[1] saves at SIGTERM",
        "acl-tf: error: Interrupted by SIGTERM to a worker. Go on by the same command with --resume.",
    ]
