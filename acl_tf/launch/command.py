"""The command that workers run."""

import sys
from collections.abc import Sequence

from acl_tf.errors import UsageError
from acl_tf.registry import nearest

LAUNCHED = ("pretrain", "finetune", "semi-supervised", "evaluate")
# What a worker's --strategy can be without leaving it alone with the whole job.
STRATEGIES = ("auto", "multiworker")


def check_command(command: Sequence[str]) -> None:
    """Checks what can be known of a command before anything starts.

    Args:
        command: Its name and arguments.

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
    """Returns program and arguments of a worker.

    Args:
        command: Name and arguments.
        attempt: Its number, from 1; later ones resume what the first one began.
        startup_timeout: How long a worker waits for the others; None: the command's own default.
        plugins: Plug-ins that every worker loads.
    """
    name, *arguments = command
    added = ["--resume"] if attempt > 1 and "--resume" not in arguments else []
    if startup_timeout is not None:
        added += ["--startup-timeout", f"{startup_timeout:g}"]
    added += [f"--plugin={plugin}" for plugin in plugins]
    # -P: not the `acl_tf` that may lie in the current folder. Options come first: a later `--` would end them.
    return [sys.executable, "-P", "-m", "acl_tf", name, *added, *arguments]


def _strategy(arguments: Sequence[str]) -> str:
    """Returns the --strategy among the arguments: the last one, as click does it."""
    chosen = "auto"
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        if argument == "--strategy":
            chosen = following
        elif argument.startswith("--strategy="):
            chosen = argument.removeprefix("--strategy=")
    return chosen
