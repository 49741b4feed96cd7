"""What the commands have in common that measure a classifier and print records."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from acl_tf.cli.hardware import start_workers
from acl_tf.cli.settings import run_name
from acl_tf.errors import UsageError
from acl_tf.training.hardware import Hardware

if TYPE_CHECKING:
    from acl_tf.records import Record

Command = TypeVar("Command", bound=Callable[..., Any])
# From configuration, folder, whether to resume, and workers to records.
Run = Callable[..., "list[Record]"]


def data_options(command: Command) -> Command:
    """Adds the options that say which images to measure on."""
    for option in (
        click.option("--split", metavar="NAME", help="[default: test]"),
        click.option("--data-dir", metavar="DIR", help="Where TFDS finds prepared data sets."),
        click.option("--dataset", metavar="NAME|DIR|FILE.npz", help="[default: the one that MODEL was trained on]"),
    ):
        command = option(command)
    return command


def measure_and_print(
    load: Callable[[], Run],
    config: Any,
    model: str,
    output: str | None,
    resume: bool,
    json_file: str | None,
    hardware: Hardware,
) -> None:
    """Measures a model, prints the records, and writes them to a file where that is asked for.

    Args:
        load: Function that imports what measures, when TensorFlow has started.
        config: Configuration of the measurement.
        model: A MODEL argument.
        output: Folder that the user named, if any.
        resume: Whether to go on with what was interrupted.
        json_file: File that the user named, if any.
        hardware: Devices to compute on.

    Raises:
        AclTfError: If anything about them is wrong.
    """
    from acl_tf.files import write_atomically

    folder = Path(output) if output else default_output(model)
    name, json_path = run_name(model), check_json(Path(json_file)) if json_file else None

    workers = start_workers(hardware)
    run = load()

    from acl_tf.cli.show import write_table
    from acl_tf.records import NamedRecord

    records = run(config, folder, resume, workers)
    if not workers.is_chief:
        return
    if json_path:
        write_atomically(json_path, json.dumps(records, indent=2) + "\n")
    write_table([NamedRecord(name, record) for record in records])


def default_output(model: str) -> Path:
    """Returns where the evaluation of a model is kept: in its run, or else in a run of its own."""
    path = Path(model)
    for run in (path, path.resolve().parent):
        if (run / "run.json").is_file():
            return run / "evaluation"
    return Path("runs", f"evaluation_{run_name(model)}")


def check_json(file: Path) -> Path:
    """Returns where the list of records goes; raises `UsageError` where it cannot, before anything takes long."""
    if file.is_dir() or not file.parent.is_dir():
        raise UsageError(f"--json must name a file in a folder that is there. Received: {str(file)!r}")
    return file.resolve()
