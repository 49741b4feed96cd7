"""The options for the hardware of a command, and the start of its workers."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from acl_tf.startup import start_tensorflow
from acl_tf.training.hardware import STRATEGIES, Hardware

if TYPE_CHECKING:
    from acl_tf.training.workers import Workers

OPTIONS = (
    click.option(
        "--strategy",
        type=click.Choice(STRATEGIES),
        default=Hardware.strategy,
        help="One device, the GPUs of this host, or the workers of TF_CONFIG or SLURM.  [default: what there is]",
    ),
    click.option(
        "--devices", metavar="N|cpu:N", help="Number of GPUs of this host; cpu:N splits the CPU.  [default: all]"
    ),
    click.option(
        "--startup-timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=Hardware.startup_timeout,
        metavar="SECONDS",
        help="Time that a worker waits for the others.  [default: 300]",
    ),
)


def hardware_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options to a command, which gets their values as the argument `hardware`."""

    @functools.wraps(command)
    def with_hardware(*args: Any, strategy: str, devices: str | None, startup_timeout: float, **kwargs: Any) -> None:
        command(*args, hardware=Hardware(strategy, devices, startup_timeout), **kwargs)

    return functools.reduce(lambda function, option: option(function), reversed(OPTIONS), with_hardware)


def start_workers(hardware: Hardware) -> "Workers":
    """Starts TensorFlow, and joins the other workers if there are any."""
    start_tensorflow()

    from acl_tf.training.strategy import build_strategy
    from acl_tf.training.workers import Workers

    workers = Workers(build_strategy(hardware))
    if workers.count > 1:
        click.echo(f"acl-tf: worker {workers.index} of {workers.count}, {workers.replicas} replicas in all", err=True)
    elif workers.replicas > 1:
        click.echo(f"acl-tf: {workers.replicas} replicas", err=True)
    return workers
