"""The command that workers run."""

import sys
from collections.abc import Sequence

from acl_tf.errors import UsageError
from acl_tf.registry import nearest

LAUNCHED = ("pretrain", "finetune", "semi-supervised", "evaluate")
# Strategies with which workers share a run; with any other, each would do the whole job alone.
STRATEGIES = ("auto", "multiworker")


def check_command(command: Sequence[str]) -> None:
    """Checks a command, as far as possible before anything starts.

    Args:
        command: Name of the command and its arguments.

    Raises:
        UsageError: If it cannot be launched.
    """
    known = ", ".join(LAUNCHED)
    if not command:
        raise UsageError(f"Name the command to launch, after --. Known: {known}. Received: no command")
    if command[0] not in LAUNCHED:
        hint = nearest(command[0], LAUNCHED) or "."
        raise UsageError(f"This command cannot be launched{hint} Known: {known}. Received: {command[0]!r}")
    strategy = _strategy(command[1:])
    if strategy not in STRATEGIES:
        raise UsageError(
            f"Launched workers share one run: leave --strategy out, or make it multiworker. "
            f"Received: --strategy {strategy}"
        )


def worker_command(
    command: Sequence[str], attempt: int, startup_timeout: float | None = None, plugins: Sequence[str] = ()
) -> list[str]:
    """Returns the program and arguments of a worker.

    Args:
        command: Name of the command and its arguments.
        attempt: Number of the attempt, from 1; later attempts resume the first.
        startup_timeout: Seconds that a worker waits for the others; None: the command's own default.
        plugins: Plug-ins that every worker loads.
    """
    name, *arguments = command
    added = ["--resume"] if attempt > 1 and "--resume" not in arguments else []
    if startup_timeout is not None:
        added += ["--startup-timeout", f"{startup_timeout:g}"]
    added += [f"--plugin={plugin}" for plugin in plugins]
    # -P: do not import an `acl_tf` in the current folder. Options come first: a `--` in the arguments would end them.
    return [sys.executable, "-P", "-m", "acl_tf", name, *added, *arguments]


def _strategy(arguments: Sequence[str]) -> str:
    """Returns the value of --strategy; the last one counts, as in click."""
    chosen = "auto"
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        if argument == "--strategy":
            chosen = following
        elif argument.startswith("--strategy="):
            chosen = argument.removeprefix("--strategy=")
    return chosen
