"""`acl-tf inspect`."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from acl_tf import record_text
from acl_tf.printable import printable
from acl_tf.startup import start_tensorflow

if TYPE_CHECKING:
    from acl_tf.model_folder.inspection import Inspection


@click.command(short_help="Show what a model is made of, and whether it is safe to load.")
@click.argument("model", metavar="MODEL")
@click.option("--json", "as_json", is_flag=True, help="The same as a JSON object.")
def inspect(model: str, as_json: bool) -> None:
    """Show what a model is made of, and whether it is safe to load: nothing of it is loaded or run.

    MODEL is a run folder, a model folder, a .keras file, a SavedModel, the base path of one in TF Serving, or
    user/name[@revision] on the Hugging Face Hub. The exit code is 1 where acl-tf would refuse it.
    """
    start_tensorflow()

    from acl_tf.hub.locate import find_on_hub
    from acl_tf.model_folder.inspection import inspect_model

    snapshot = find_on_hub(model, files=None)
    inspection = inspect_model(snapshot.folder if snapshot else model)
    if as_json:
        click.echo(json.dumps(described(inspection), indent=2))
    else:
        for line in lines(inspection):
            click.echo(line)
    if inspection.findings:
        raise click.exceptions.Exit(1)


def described(inspection: "Inspection") -> dict[str, Any]:
    """Returns an inspection as a JSON object."""
    return {
        "path": str(inspection.path),
        "refused": bool(inspection.findings),
        "findings": inspection.findings,
        "config": inspection.config,
        "files": {name: {"size": size, "sha256": digest} for name, (size, digest) in inspection.files.items()},
        "keras_classes": sorted(inspection.layers),
        "saved_models": {
            place: {
                "signatures": {
                    name: {"inputs": dict(inputs), "outputs": dict(outputs)}
                    for name, (inputs, outputs) in contents.signatures.items()
                },
                "operations": dict(sorted(contents.operations.items())),
            }
            for place, contents in inspection.saved_models.items()
        },
        "records": inspection.records,
        "unread": inspection.unread,
    }


def lines(inspection: "Inspection") -> Iterator[str]:
    """Yields an inspection as lines to read."""
    yield f"model       {printable(inspection.path)}"
    yield from _of_config(inspection.config)
    for name, (size, digest) in sorted(inspection.files.items()):
        yield f"file        {digest}  {size:>12,}  {name}"
    if inspection.layers:
        yield f"keras       {', '.join(sorted(map(printable, inspection.layers)))}"
    for place, contents in inspection.saved_models.items():
        for name, (inputs, outputs) in contents.signatures.items():
            signature = f"{printable(name)}({_tensors(inputs)}) -> {_tensors(outputs)}"
            yield f"signature   {printable(place)}: {signature}"
        operations = ", ".join(f"{name} {count}" for name, count in sorted(contents.operations.items()))
        yield f"operations  {printable(place)}: {printable(operations)}"
    for record in inspection.records:
        attack, data = record_text.attack(record["protocol"]), record_text.data(record)
        yield f"record      {printable(record['metric'])} {record_text.number(record)}, {attack}, {data}"
    for name in inspection.unread:
        yield f"unread      {printable(name)}"
    for finding in inspection.findings:
        yield f"refused     {printable(finding)}"
    yield f"verdict     {'refused' if inspection.findings else 'safe: what acl-tf loads of it only computes'}"


def _of_config(config: Mapping[str, Any]) -> Iterator[str]:
    for key in ("kind", "arch", "width", "input_shape", "branch"):
        if key in config:
            yield f"{key:<12}{printable(config[key])}"
    if "origin" in config:
        yield f"origin      {printable(config['origin'])}"


def _tensors(tensors: Mapping[str, str]) -> str:
    return ", ".join(printable(f"{name}: {kind}") for name, kind in tensors.items())
