"""One worker: a process in a session of its own, and the threads that pass on what it writes."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO, cast

from acl_tf.launch import tether
from acl_tf.launch.output import Pump, Sink


class Worker:
    """A running process. Ctrl-C in the terminal does not reach it, and it sees no terminal.

    It must be started from the thread that ends last: the kernel ties it to that.

    Args:
        index: Its number.
        command: Program and arguments.
        environment: Of the process.
        stdout: Where its stdout goes.
        stderr: Where its stderr goes.
        prefix: What stands before each line. The stdout of worker 0 is the result, and goes on as it is.
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
        """Returns None while it runs, and -N where signal N killed it."""
        # Not `poll`: before `close`, the number of the process must not go to another one, which would get its signals.
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, which goes nowhere if it has ended."""
        os.kill(self._process.pid, number)

    def close(self) -> None:
        """Kills it, and what it has started, if that still runs; returns when all that it wrote is passed on."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pump in self._pumps:
            pump.join()


def describe(exit_code: int) -> str:
    """Says what a process did that ended with this exit code; -N is signal N."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-exit_code, f'signal {-exit_code}')}"
