"""Predictions for image files, from a model server."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from acl_tf.client.images import batches
from acl_tf.client.server import SIGNATURE, NotServed, Outputs, Refused, Server, ServerError, excerpt

# Outputs of the models that acl-tf exports, by kind.
OUTPUTS = {"classifier": ("logits", "probabilities"), "encoder": ("features",)}


@dataclass(frozen=True)
class Answer:
    """The answer of a server to one image file.

    Attributes:
        file: Path of the image.
        outputs: List of numbers for each output of the model; empty if the server refused the file.
        refusal: The server's reason for refusing the file; empty if it did not.
    """

    file: Path
    outputs: Outputs
    refusal: str = ""


def served_kind(server: Server) -> str:
    """Returns the kind of model that a server has; called before images are sent.

    Args:
        server: Model on a server.

    Returns:
        `"classifier"` or `"encoder"`.

    Raises:
        ServerError: If the server cannot be reached, lacks the model or version, or acl-tf did not export its model.
    """
    try:
        signatures = server.signatures()
    except NotServed as error:
        raise _not_served(server) from error
    address = server.address
    if SIGNATURE not in signatures:
        raise ServerError(
            f"The model {address.model!r} at {address.server} has no signature {SIGNATURE}, as models of acl-tf "
            f"export have. Received: {excerpt(', '.join(sorted(signatures)) or 'no signatures')}"
        )
    for kind, outputs in OUTPUTS.items():
        if set(outputs) <= set(signatures[SIGNATURE]):
            return kind
    raise ServerError(
        f"The model {address.model!r} at {address.server} returns neither probabilities nor features. "
        f"Received: {excerpt(', '.join(signatures[SIGNATURE]) or 'no outputs')}"
    )


def ask(server: Server, kind: str, files: Sequence[Path]) -> Iterator[Answer]:
    """Yields an answer for each file, in order.

    A server refuses a whole request because of one bad image. The request is then split in halves, again and again,
    until the bad image is found, so that all others get their predictions.

    Args:
        server: Model on a server.
        kind: Kind of the model, as `served_kind` returns it.
        files: Paths of the images.

    Raises:
        ServerError: If the server fails.
    """
    for batch in batches(files):
        yield from _ask(server, OUTPUTS[kind], batch)


def _ask(server: Server, names: tuple[str, ...], batch: Sequence[tuple[Path, bytes]]) -> Iterator[Answer]:
    try:
        rows = server.predict([image for _, image in batch], names)
    except Refused as error:
        if len(batch) == 1:
            yield Answer(batch[0][0], {}, error.reason)
            return
        middle = len(batch) // 2
        yield from _ask(server, names, batch[:middle])
        yield from _ask(server, names, batch[middle:])
        return
    for (file, _), outputs in zip(batch, rows, strict=True):
        _check(server, outputs)
        yield Answer(file, outputs)


def _check(server: Server, outputs: Outputs) -> None:
    for name, values in outputs.items():
        if not isinstance(values, list) or not values or not all(map(_is_number, values)):
            raise ServerError(
                f"The server at {server.address.server} did not answer with finite numbers. "
                f"Received: {name}={excerpt(values)}"
            )


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer larger than every float
        return False


def _not_served(server: Server) -> ServerError:
    address = server.address
    try:
        states = server.states()
    except NotServed:
        return ServerError(f"The server at {address.server} knows no such model. Received: {address.model!r}")
    wanted = "No version" if address.version is None else f"No version {address.version}"
    known = ", ".join(map(str, states)) or "no versions"
    return ServerError(f"{wanted} of the model {address.model!r} is served at {address.server}. Received: {known}")
