"""Real processes, and how they are waited for; the signals of the launcher itself: tests/cli/test_launch.py."""

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from acl_tf.errors import Interrupted, UsageError
from acl_tf.launch.output import Sink
from acl_tf.launch.supervisor import Supervisor, WorkerError
from acl_tf.launch.team import Patience, Team
from acl_tf.launch.worker import describe

HASTE = Patience(notice=0.3, stop=0.3)
# What the code of every worker begins with.
PRELUDE = "import os, signal, sys, time; from pathlib import Path; index, attempt = os.environ['INDEX'], sys.argv[1]\n"


class Launch:
    """A supervisor of workers that run a piece of code, and what came of it."""

    def __init__(self, code: str, workers: int = 2, attempts: int = 1, patience: Patience = HASTE) -> None:
        self.code = PRELUDE + code
        self.workers = workers
        self.stdout, self.stderr = io.BytesIO(), io.BytesIO()
        self.supervisor = Supervisor(
            self.command, self.environments, attempts, self.stdout, self.stderr, patience=patience
        )

    def command(self, attempt: int) -> Sequence[str]:
        return [sys.executable, "-c", self.code, str(attempt)]

    def environments(self) -> Sequence[Mapping[str, str]]:
        return [{**os.environ, "INDEX": str(index)} for index in range(self.workers)]

    def run(self) -> "Launch":
        self.supervisor.run()
        return self

    def said(self) -> list[str]:
        return sorted(self.stderr.getvalue().decode().splitlines())


def test_output():
    launch = Launch("print('out', index); print('err', index, file=sys.stderr)").run()
    assert sorted(launch.stdout.getvalue().splitlines()) == [b"[1] out 1", b"out 0"]
    assert launch.said() == ["[0] err 0", "[1] err 1"]


def test_numbers_are_aligned():
    launch = Launch("print(index, file=sys.stderr)", workers=11).run()
    assert launch.said() == sorted([*(f"[ {index}] {index}" for index in range(10)), "[10] 10"])


def test_nothing_is_lost_at_the_end():
    launch = Launch("print('line\\n' * 200_000, end='')").run()
    lines = launch.stdout.getvalue().splitlines()
    assert len(lines) == 400_000
    assert lines.count(b"line") == lines.count(b"[1] line") == 200_000


def test_nothing_is_lost_where_it_is_shown_slowly():
    class Slow(io.BytesIO):
        def write(self, line) -> int:
            time.sleep(0.02)
            return super().write(line)

    launch = Launch("print('line\\n' * 20, end='')")
    launch.supervisor.stdout = Slow()
    launch.run()
    assert launch.supervisor.stdout.getvalue().count(b"line\n") == 40


def test_half_a_line_blocks_nobody(tmp_path):
    """Worker 0 stands in the middle of a line until worker 1, who says more than a pipe holds, has ended."""
    code = f"done = Path({str(tmp_path / 'done')!r})\n"
    code += """
if index == "1":
    print("line\\n" * 100_000, end="", flush=True)
    done.touch()
else:
    print("half", end="", file=sys.stderr, flush=True)
    while not done.exists(): time.sleep(0.01)
    print(" a line", end="", file=sys.stderr)
"""
    launch = Launch(code).run()
    assert launch.said() == ["[0] half a line"]


def test_no_terminal():
    code = "print(*(os.isatty(file) for file in range(3)), os.getsid(0) == os.getpid(), repr(sys.stdin.read()))\n"
    code += "try: open('/dev/tty')\nexcept OSError: print('none')"
    assert Launch(code, workers=1).run().stdout.getvalue() == b"False False False True ''\nnone\n"


def test_started_again(caplog):
    launch = Launch("print(index, attempt, file=sys.stderr); sys.exit(index == '1' and attempt < '3')", attempts=3)
    launch.run()
    assert launch.said() == [f"[{index}] {index} {attempt}" for index in "01" for attempt in "123"]
    assert caplog.messages == [
        f"worker 1 ended with exit code 1; attempt {attempt} of 3 continues from the last checkpoint"
        for attempt in (2, 3)
    ]


def test_no_attempt_is_left(caplog):
    launch = Launch("os.kill(os.getpid(), signal.SIGKILL)", workers=1, attempts=2)
    with pytest.raises(WorkerError) as error:
        launch.run()
    assert str(error.value) == (
        "No attempt is left; see above what the workers say. Go on by the same command with --resume. "
        "Received: worker 0 was killed by SIGKILL in attempt 2 of 2"
    )
    assert error.value.exit_code == 1
    assert caplog.messages == ["worker 0 was killed by SIGKILL; attempt 2 of 2 continues from the last checkpoint"]


def outliving(tmp_path: Path, dies: str, lives: str) -> Launch:
    """Worker 1 does what it dies of as soon as worker 0 has touched `there`."""
    code = f"""
there = Path({str(tmp_path / "there")!r})
if index == "1":
    while not there.exists(): time.sleep(0.01)
    {dies}
else:
    {lives}
"""
    return Launch(code)


def test_a_worker_that_ends_by_itself_is_left_to_it(tmp_path):
    launch = outliving(
        tmp_path,
        "sys.exit(1)",
        "signal.signal(signal.SIGTERM, lambda *_: print('SIGTERM', file=sys.stderr)); there.touch(); time.sleep(0.2)",
    )
    launch.supervisor.patience = Patience(notice=60, stop=60)
    with pytest.raises(WorkerError) as error:
        launch.run()
    assert "worker 1 ended with exit code 1" in str(error.value)
    assert launch.said() == []


def test_a_worker_that_hangs_gets_sigterm_once(tmp_path):
    launch = outliving(
        tmp_path,
        "sys.exit(1)",
        "signal.signal(signal.SIGTERM, lambda *_: print('SIGTERM', file=sys.stderr)); there.touch(); time.sleep(2)",
    )
    launch.supervisor.patience = Patience(notice=0.2, stop=60)
    with pytest.raises(WorkerError):
        launch.run()
    assert launch.said() == ["[0] SIGTERM"]


def test_a_worker_that_hangs_on_is_killed(tmp_path):
    launch = outliving(
        tmp_path,
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "signal.signal(signal.SIGTERM, lambda *_: print('SIGTERM', file=sys.stderr)); there.touch(); time.sleep(600)",
    )
    with pytest.raises(WorkerError) as error:
        launch.run()
    assert "worker 1 was killed by SIGSEGV" in str(error.value)
    assert launch.said() == ["[0] SIGTERM"]


def test_workers_that_were_asked_to_save_are_not_hastened(tmp_path):
    """Worker 1 has ended at the signal; worker 0 takes longer than it may where a worker has died."""
    launch = outliving(
        tmp_path,
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); os.kill(os.getppid(), signal.SIGTERM); time.sleep(9)",
        "signal.signal(signal.SIGTERM, lambda *_: time.sleep(1) or print('saved', file=sys.stderr) or sys.exit(143)); "
        "there.touch(); time.sleep(9)",
    )
    with pytest.raises(Interrupted) as error:
        launch.run()
    assert (error.value.exit_code, launch.said()) == (143, ["[0] saved"])


def test_what_a_dead_worker_had_started_is_killed(tmp_path):
    """It holds the worker's stdout open, whose end would never come."""
    launch = Launch("import subprocess; print(subprocess.Popen(['sleep', '600']).pid)", workers=1).run()
    wait_until(lambda: not runs(int(launch.stdout.getvalue())))


def runs(pid: int) -> bool:
    """Whether there is a process of this number that is more than an entry in a table."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(ready: Callable[[], bool]) -> None:
    while not ready():
        time.sleep(0.01)


def test_a_wrong_command_ends_all_at_once(tmp_path, caplog):
    launch = outliving(tmp_path, "sys.exit(2)", "there.touch(); time.sleep(600)")
    launch.supervisor.attempts, launch.supervisor.patience = 3, Patience(notice=600, stop=60)
    with pytest.raises(UsageError) as error:
        launch.run()
    assert str(error.value) == (
        "The command is wrong; see above what worker 1 says. Received: worker 1 ended with exit code 2"
    )
    assert caplog.messages == []


def test_a_wrong_command_counts_more_than_who_died_of_it(tmp_path):
    launch = outliving(tmp_path, "sys.exit(1)", "there.touch(); time.sleep(0.2); sys.exit(2)")
    launch.supervisor.attempts = 3
    with pytest.raises(UsageError) as error:
        launch.run()
    assert "see above what worker 0 says" in str(error.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_that_somebody_interrupted_are_not_started_again(number, caplog):
    launch = Launch(f"sys.exit(128 + {int(number)})", attempts=3)
    with pytest.raises(Interrupted) as error:
        launch.run()
    assert error.value.exit_code == 128 + number
    assert str(error.value) == f"Interrupted by {number.name} to a worker. Go on by the same command with --resume."
    assert caplog.messages == []


def test_a_process_that_cannot_be_started():
    """Those that were started before it end."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    environments = [dict(os.environ), {"PATH": None}]  # of the second one, no process can be made
    team = Team([command] * 2, environments, Sink(io.BytesIO()), Sink(io.BytesIO()), HASTE)  # type: ignore[list-item]
    with pytest.raises(TypeError), team:
        pass
    assert len(team.workers) == 1
    assert not runs(team.workers[0]._process.pid)


def test_the_handlers_of_before_are_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    Launch("pass", workers=1).run()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize(
    "exit_code, said",
    [
        (1, "ended with exit code 1"),
        (-signal.SIGKILL, "was killed by SIGKILL"),
        (-signal.SIGABRT, "was killed by SIGABRT"),
        (-40, "was killed by signal 40"),
    ],
)
def test_describe(exit_code, said):
    assert describe(exit_code) == said
