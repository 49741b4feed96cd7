"""What a client needs of a model server, whichever way it is reached, and what can go wrong with one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from acl_tf import record_text
from acl_tf.client.address import Address
from acl_tf.errors import AclTfError

SIGNATURE = "image_bytes"  # takes JPEG and PNG files as they are, in an input of the same name
MESSAGE_LENGTH = 300  # in characters, of what a server says

# What a signature returned for one image: names, and a list of numbers each.
Outputs = Mapping[str, Any]


class ServerError(AclTfError):
    """A model server that cannot be reached, has not what is asked for, or fails."""


class NotServed(ServerError):
    """A server that has no such model, or no such version of it."""


class Refused(ServerError):
    """A server that does not take what was sent.

    Args:
        server: Its URL.
        reason: In its own words.
    """

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"The server at {server} refused the request: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class VersionState:
    """A version of a model, and what a server does with it: `AVAILABLE`, `LOADING`, `END`, … and why."""

    version: int
    state: str
    message: str

    def __str__(self) -> str:
        return f"{self.version} ({self.state}{': ' if self.message else ''}{self.message})"


class Server(Protocol):
    """A model on a server. Whatever fails is a `ServerError`."""

    address: Address

    def signatures(self) -> dict[str, tuple[str, ...]]:
        """Returns the outputs of each signature of the version that answers."""

    def states(self) -> list[VersionState]:
        """Returns all versions that the server knows of."""

    def predict(self, images: Sequence[bytes], outputs: tuple[str, ...]) -> list[Outputs]:
        """Asks for these outputs of `SIGNATURE`, for each image file."""

    def close(self) -> None:
        """Lets go of the connection."""


def shown(value: object) -> str:
    """Returns what a server answered, as `one_line` does, whatever it is."""
    try:
        return one_line(str(value))
    except RecursionError:
        return "a value that is nested too deeply"


def one_line(message: str) -> str:
    """Returns what a server says in one line, without the names of graph nodes, and not at any length."""
    text = record_text.printable(" ".join(message.split("[[{{")[0].split()))
    return text if len(text) <= MESSAGE_LENGTH else f"{text[:MESSAGE_LENGTH]}…"
