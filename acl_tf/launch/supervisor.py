"""Attempts: where a worker dies, all are started again and go on from the last checkpoint."""

import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from acl_tf.errors import AclTfError, Interrupted, UsageError
from acl_tf.launch.output import Sink
from acl_tf.launch.signals import Signals
from acl_tf.launch.team import Failure, Patience, Team
from acl_tf.launch.worker import describe

logger = logging.getLogger(__name__)

GO_ON = "Go on by the same command with --resume."
# Exit codes of a worker that somebody else than the launcher has asked to end.
INTERRUPTED = {128 + number: number for number in (signal.SIGINT, signal.SIGTERM)}


class WorkerError(AclTfError):
    """Workers that died in every attempt."""


class Supervisor:
    """Starts the workers of a command, and starts them again where one dies.

    Args:
        command: Gives program and arguments of all workers; its argument is the number of the attempt, from 1.
        environments: Gives the environment of each worker, and so their number; called anew for every attempt.
        attempts: So many in all.
        stdout: Where what the workers print goes.
        stderr: Where their messages go.
        patience: With workers that outlive another.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        environments: Callable[[], Sequence[Mapping[str, str]]],
        attempts: int,
        stdout: BinaryIO,
        stderr: BinaryIO,
        patience: Patience | None = None,
    ) -> None:
        self.command = command
        self.environments = environments
        self.attempts = attempts
        self.stdout = stdout
        self.stderr = stderr
        self.patience = patience or Patience()

    def run(self) -> None:
        """Returns when all workers have done what they should.

        Raises:
            UsageError: If a worker refused the command.
            Interrupted: If SIGINT or SIGTERM came, here or to a worker.
            WorkerError: If a worker died in the last attempt.
            OSError: If the output cannot be written, or a process not be started.
        """
        with Signals() as signals:
            for attempt in range(1, self.attempts + 1):
                failure = self._attempt(attempt, signals)
                if signals.received:
                    name = signals.received[0].name
                    raise Interrupted(f"Interrupted by {name}. {GO_ON}", signals.received[0])
                if failure is None:
                    return
                self._judge(failure, attempt)

    def _attempt(self, number: int, signals: Signals) -> Failure | None:
        environments = self.environments()
        commands = [self.command(number)] * len(environments)
        sinks = Sink(self.stdout), Sink(self.stderr)
        with Team(commands, environments, *sinks, self.patience) as team:
            failure = team.wait(signals)
        for sink in sinks:
            if sink.error:
                raise sink.error
        return failure

    def _judge(self, failure: Failure, attempt: int) -> None:
        """Returns if there is to be another attempt after this one."""
        what = f"worker {failure.worker} {describe(failure.exit_code)}"
        if failure.exit_code == UsageError.exit_code:
            raise UsageError(f"The command is wrong; see above what worker {failure.worker} says. Received: {what}")
        if failure.exit_code in INTERRUPTED:
            number = INTERRUPTED[failure.exit_code]
            raise Interrupted(f"Interrupted by {number.name} to a worker. {GO_ON}", number)
        if attempt == self.attempts:
            raise WorkerError(
                f"No attempt is left; see above what the workers say. {GO_ON} "
                f"Received: {what} in attempt {attempt} of {self.attempts}"
            )
        logger.warning("%s; attempt %d of %d goes on from the last checkpoint", what, attempt + 1, self.attempts)
