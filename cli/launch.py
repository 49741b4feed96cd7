"""`acl-tf launch`."""

import os
import sys

import click


@click.command(
    short_help="Run a command by several workers on this machine.",
    # Arguments after COMMAND belong to the command, with and without the --.
    context_settings={"allow_interspersed_args": False},
)
@click.option("--workers", metavar="N", type=click.IntRange(1), required=True, help="Number of worker processes.")
@click.option(
    "--attempts",
    metavar="N",
    type=click.IntRange(1),
    default=3,
    help="Number of starts of all workers if one dies.  [default: 3]",
)
@click.option(
    "--startup-timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Time that a worker waits for the others.  [default: the command's]",
)
@click.argument("command", metavar="-- COMMAND [ARGS]...", nargs=-1, type=click.UNPROCESSED)
def launch(workers: int, attempts: int, startup_timeout: float | None, command: tuple[str, ...]) -> None:
    """Run pretrain, finetune, semi-supervised or evaluate by several workers on this machine.

    The GPUs of the machine, or its cores if it has none, are divided among the workers. Every worker takes its part of
    each batch, and the result is that of one process. Worker 0 writes the run folder.

    Lines of the workers' output begin with their number, except the stdout of worker 0, which is the result.

    If a worker dies, all are restarted and continue from the last checkpoint. Ctrl-C and SIGTERM are passed on to all
    workers, which finish the step and save; the second signal kills them.
    """
    from acl_tf.cli.plugins import given_to_group
    from acl_tf.launch.command import check_command, worker_command
    from acl_tf.launch.environments import devices, environments
    from acl_tf.launch.supervisor import Supervisor

    check_command(command)
    plugins = given_to_group()
    environment = dict(os.environ)
    own = devices(environment, workers)
    Supervisor(
        lambda attempt: worker_command(command, attempt, startup_timeout, plugins),
        lambda: environments(environment, own),
        attempts,
        sys.stdout.buffer,
        sys.stderr.buffer,
    ).run()
