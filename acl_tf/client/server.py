"""The interface of the clients for REST and gRPC, and their errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from acl_tf.client.address import Address
from acl_tf.errors import AclTfError
from acl_tf.printable import printable

SIGNATURE = "image_bytes"  # takes undecoded JPEG and PNG files, in an input of the same name
MESSAGE_LENGTH = 300  # in characters, of a message from a server

# Outputs of a signature for one image: a list of numbers for each name.
Outputs = Mapping[str, Any]


class ServerError(AclTfError):
    """A model server that cannot be reached, lacks the requested model, or fails."""


class NotServed(ServerError):
    """A server that has no such model, or no such version of it."""


class Refused(ServerError):
    """A request that a server refused.

    Args:
        server: URL of the server.
        reason: Reason in the words of the server.
    """

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"The server at {server} refused the request: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class VersionState:
    """A version of a model, its state on a server (`AVAILABLE`, `LOADING`, `END`, …), and the message with it."""

    version: int
    state: str
    message: str

    def __str__(self) -> str:
        return f"{self.version} ({self.state}{': ' if self.message else ''}{self.message})"


class Server(Protocol):
    """A model on a server. Every failure is raised as a `ServerError`."""

    address: Address

    def signatures(self) -> dict[str, tuple[str, ...]]:
        """Returns the outputs of each signature of the version that answers."""

    def states(self) -> list[VersionState]:
        """Returns all versions that the server knows."""

    def predict(self, images: Sequence[bytes], outputs: tuple[str, ...]) -> list[Outputs]:
        """Returns the requested outputs of `SIGNATURE` for each image file."""

    def close(self) -> None:
        """Closes the connection."""


def excerpt(value: object) -> str:
    """Returns any part of an answer as `one_line` does."""
    try:
        return one_line(str(value))
    except RecursionError:
        return "a value that is nested too deeply"


def one_line(message: str) -> str:
    """Returns a server's message in one line of limited length, without the names of graph nodes."""
    text = printable(" ".join(message.split("[[{{")[0].split()))
    return text if len(text) <= MESSAGE_LENGTH else f"{text[:MESSAGE_LENGTH]}…"
