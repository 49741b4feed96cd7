"""Attempts: if a worker dies, all workers are restarted and continue from the last checkpoint."""

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
# Exit codes of a worker that was interrupted by somebody other than the launcher.
INTERRUPTED = {128 + number: number for number in (signal.SIGINT, signal.SIGTERM)}


class WorkerError(AclTfError):
    """Workers that died in every attempt."""


class Supervisor:
    """Starts the workers of a command, and restarts all of them if one dies.

    Args:
        command: Function from the number of the attempt, from 1, to the program and arguments of all workers.
        environments: Function that returns the environment of each worker; it is called for every attempt.
        attempts: Number of attempts in all.
        stdout: Stream for the results of the workers.
        stderr: Stream for their messages.
        patience: Time for workers that outlive another.
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
        """Runs the workers until all have finished their work.

        Raises:
            UsageError: If a worker rejected the command.
            Interrupted: If SIGINT or SIGTERM came, here or to a worker.
            WorkerError: If a worker died in the last attempt.
            OSError: If the output cannot be written, or a process cannot be started.
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
        """Raises the error that a failure ends the command with, or returns if there is to be another attempt."""
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
        logger.warning("%s; attempt %d of %d continues from the last checkpoint", what, attempt + 1, self.attempts)
