"""The workers of one attempt, which are started and ended together."""

import dataclasses
import signal
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from acl_tf.errors import UsageError
from acl_tf.launch.output import Sink
from acl_tf.launch.signals import Signals
from acl_tf.launch.worker import Worker

POLL_SECONDS = 0.05


@dataclasses.dataclass(frozen=True)
class Patience:
    """Time that the other workers get after one has died, in seconds.

    Attributes:
        notice: Time to notice it, which takes TensorFlow up to 10 seconds, and to end by themselves, before SIGTERM.
        stop: Time to end after SIGTERM, before SIGKILL.
    """

    notice: float = 20.0
    stop: float = 10.0


@dataclasses.dataclass(frozen=True)
class Failure:
    """The failure of a worker.

    Attributes:
        worker: Number of the worker.
        exit_code: Exit code of its process; -N if signal N killed it.
    """

    worker: int
    exit_code: int


class Team:
    """Workers that run inside a `with` block and end with it.

    Args:
        commands: Program and arguments of each worker.
        environments: Environment of each worker.
        stdout: Destination of their stdout.
        stderr: Destination of their stderr.
        patience: Time for workers that outlive another.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        environments: Sequence[Mapping[str, str]],
        stdout: Sink,
        stderr: Sink,
        patience: Patience,
    ) -> None:
        self.commands = commands
        self.environments = environments
        self.stdout = stdout
        self.stderr = stderr
        self.patience = patience
        self.workers: list[Worker] = []
        self._sent: set[signal.Signals] = set()

    def __enter__(self) -> "Team":
        width = len(str(len(self.commands) - 1))
        try:
            for index, (command, environment) in enumerate(zip(self.commands, self.environments)):
                prefix = f"[{index:{width}}] "
                self.workers.append(Worker(index, command, environment, self.stdout, self.stderr, prefix))
        except BaseException:  # such as one process too many for this machine
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def wait(self, signals: Signals) -> Failure | None:
        """Waits until all workers have ended.

        Args:
            signals: Signals to the launcher: the first is passed on to all workers, the second kills them.

        Returns:
            The first failure, or that of a worker that rejected the command; None if all finished their work.
        """
        first, since = None, 0.0
        while any(worker.exit_code() is None for worker in self.workers):
            if first is None and (first := self._failure()):
                since = time.monotonic()
            if signals.received:
                self._send(signal.SIGKILL if len(signals.received) > 1 else signals.received[0])
            elif first:
                self._press(time.monotonic() - since)
            time.sleep(POLL_SECONDS)
        return self._refusal() or first or self._failure()

    def _failure(self) -> Failure | None:
        codes = ((worker.index, worker.exit_code()) for worker in self.workers)
        return next((Failure(index, code) for index, code in codes if code), None)

    def _refusal(self) -> Failure | None:
        refused = (worker.index for worker in self.workers if worker.exit_code() == UsageError.exit_code)
        return next((Failure(index, UsageError.exit_code) for index in refused), None)

    def _press(self, waited: float) -> None:
        """Ends the workers that have outlived another by more seconds than `patience` allows."""
        notice = 0.0 if self._refusal() else self.patience.notice  # no need to wait if nothing has begun
        if waited >= notice + self.patience.stop:
            self._send(signal.SIGKILL)
        elif waited >= notice:
            self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        """Sends a signal to all workers, but only once: a second one would stop them immediately."""
        if number not in self._sent:
            self._sent.add(number)
            for worker in self.workers:
                worker.send(number)

    def _close(self) -> None:
        for worker in self.workers:
            worker.close()
