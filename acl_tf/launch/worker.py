"""One worker: a process in a session of its own, and the threads that pass on its output."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO, cast

from acl_tf.launch import tether
from acl_tf.launch.output import Pump, Sink


class Worker:
    """A running process without a terminal, which Ctrl-C does not reach.

    It must be started from the thread that ends last, because the kernel ends it with the thread that started it.

    Args:
        index: Number of the worker.
        command: Program and arguments.
        environment: Environment of the process.
        stdout: Destination of its stdout.
        stderr: Destination of its stderr.
        prefix: Text before each line. The stdout of worker 0 is the result, which is passed on unchanged.
    """

    def __init__(
        self,
        index: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        stdout: Sink,
        stderr: Sink,
        prefix: str,
    ) -> None:
        self.index = index
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._pumps = [
            Pump(cast(BinaryIO, self._process.stdout), stdout, prefix if index else None),
            Pump(cast(BinaryIO, self._process.stderr), stderr, prefix),
        ]
        for pump in self._pumps:
            pump.start()

    def exit_code(self) -> int | None:
        """Returns the exit code of the process: None while it runs, -N if signal N killed it."""
        # Not `poll`, which would free the number of the process: until `close`, signals must not reach another process.
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process; it has no effect if the process has ended."""
        os.kill(self._process.pid, number)

    def close(self) -> None:
        """Kills the process and its children if they still run; returns when all output has been passed on."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pump in self._pumps:
            pump.join()


def describe(exit_code: int) -> str:
    """Returns a description of an exit code; -N is signal N."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-exit_code, f'signal {-exit_code}')}"
