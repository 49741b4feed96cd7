"""`acl-tf client`."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from acl_tf.errors import UsageError
from acl_tf.printable import printable

if TYPE_CHECKING:
    from acl_tf.client.predictions import Answer


@click.command(short_help="Ask a running TF Serving for predictions.")
@click.argument("url", metavar="URL")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME", help="Name of the model, if URL has none.")
@click.option("--version", metavar="N", type=int, help="Version of the model.  [default: the newest]")
@click.option(
    "--classes",
    "classes_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Names of the classes: text with one per line, or config.json of a model folder.",
)
@click.option("--top", metavar="K", type=click.IntRange(1), help="Print the K most probable classes.  [default: 1]")
@click.option("--json", "as_json", is_flag=True, help="Print all outputs, one JSON object per line.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, 86400, min_open=True),
    default=60,
    help="Time limit for each answer.  [default: 60]",
)
def client(
    url: str,
    images: tuple[Path, ...],
    model: str | None,
    version: int | None,
    classes_file: Path | None,
    top: int | None,
    as_json: bool,
    timeout: float,
) -> None:
    """Ask a running TF Serving for predictions of a model that acl-tf export wrote.

    URL is http://HOST:8501[/v1/models/NAME[/versions/N]] or grpc://HOST:8500[/NAME[/N]], or https and grpcs for TLS.
    IMAGEs are JPEG and PNG files of any size; the server decodes and resizes them.

    A classifier gives a line with file, class and probability, an encoder a JSON object with the features. An image
    that the server refuses is named on stderr, the others get their predictions, and the exit code is 1.
    """
    from acl_tf.client.address import parse_address
    from acl_tf.client.classes import read_classes
    from acl_tf.client.connect import connect
    from acl_tf.client.images import check_images
    from acl_tf.client.predictions import ask, served_kind

    if as_json and top is not None:
        raise UsageError(f"--json has the probabilities of all classes, without --top. Received: --top {top}")
    address = parse_address(url, model, version)
    classes = read_classes(classes_file) if classes_file else None
    check_images(images)
    with contextlib.closing(connect(address, timeout)) as server:
        kind = served_kind(server)
        if classes and kind == "encoder":
            raise UsageError(f"The model {address.model!r} is an encoder and has no classes. Received: --classes")
        refused = False
        for answer in ask(server, kind, images):
            refused |= bool(answer.refusal)
            show(answer, classes, top or 1, as_json)
    if refused:
        click.get_current_context().exit(1)


def show(answer: "Answer", classes: Sequence[str] | None, top: int, as_json: bool) -> None:
    """Prints the answer to a file: predictions on stdout, a refusal on stderr.

    Args:
        answer: Answer of a classifier or an encoder.
        classes: Names of a classifier's classes; None: they are numbered.
        top: Number of classes to print, one per line.
        as_json: Whether to print all outputs of a classifier as JSON, like those of an encoder.
    """
    if answer.refusal:
        click.echo(f"acl-tf: error: The server refused {printable(answer.file)}: {answer.refusal}", err=True)
    elif "probabilities" not in answer.outputs:
        click.echo(json.dumps({"file": str(answer.file), **answer.outputs}))
    else:
        ranked = ranking(answer, classes)
        click.echo(as_object(answer, ranked) if as_json else as_lines(answer, ranked[:top]))


def ranking(answer: "Answer", classes: Sequence[str] | None) -> list[tuple[str | int, float]]:
    """Returns classes and their probabilities, the most probable first; of equal ones, the first.

    Args:
        answer: Answer of a classifier.
        classes: Names of the classes; None: they are numbered.

    Raises:
        UsageError: If there are more or fewer names than classes.
    """
    probabilities = answer.outputs["probabilities"]
    if classes and len(classes) != len(probabilities):
        raise UsageError(f"The model has {len(probabilities)} classes. Received: --classes with {len(classes)} names")
    order = sorted(range(len(probabilities)), key=lambda index: -probabilities[index])
    return [(classes[index] if classes else index, probabilities[index]) for index in order]


def as_object(answer: "Answer", ranked: Sequence[tuple[str | int, float]]) -> str:
    """Returns an answer as JSON, with the most probable class first."""
    best, probability = ranked[0]
    return json.dumps({"file": str(answer.file), "class": best, "probability": probability, **answer.outputs})


def as_lines(answer: "Answer", ranked: Sequence[tuple[str | int, float]]) -> str:
    """Returns one line per class: file, class and probability, separated by tabs."""
    rows = ((printable(answer.file), printable(name), f"{probability:.4f}") for name, probability in ranked)
    return "\n".join("\t".join(row) for row in rows)
