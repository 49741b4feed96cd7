"""The URL of a model server and its parts."""

import re
import urllib.parse
from dataclasses import dataclass
from typing import TypeVar

from acl_tf.errors import UsageError

# Paths of TF Serving's REST API, perhaps behind the prefix of a proxy. gRPC has no paths; a short form replaces them.
REST = re.compile(
    r"(?P<prefix>(?:/(?!v1(?:/|$))[^/]+)*)"
    r"(?:/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d{1,20}))?(?::predict)?)?/?"
)
GRPC = re.compile(r"(?P<prefix>)(?:/(?P<model>[^/:]+)(?:/(?P<version>\d{1,20}))?)?/?")
LARGEST_VERSION = 2**63 - 1
PATHS = {"http": REST, "https": REST, "grpc": GRPC, "grpcs": GRPC}
Named = TypeVar("Named", str, int)


@dataclass(frozen=True)
class Address:
    """A model on a server.

    Attributes:
        scheme: `http` and `https`: REST; `grpc` and `grpcs`: gRPC, the second over TLS.
        host: Host name or IP address, and port.
        prefix: Path that a proxy puts before `/v1`.
        model: Name of the model on the server.
        version: Number of the version; None: the newest that is served.
    """

    scheme: str
    host: str
    prefix: str
    model: str
    version: int | None

    @property
    def server(self) -> str:
        """The URL without the model."""
        return f"{self.scheme}://{self.host}{self.prefix}"


def parse_address(url: str, model: str | None = None, version: int | None = None) -> Address:
    """Parses the URL of a model on a server.

    Args:
        url: `http(s)://HOST:PORT[/v1/models/NAME[/versions/N]]` or `grpc(s)://HOST:PORT[/NAME[/N]]`.
        model: Name of the model, if the URL has none.
        version: Version of the model, if the URL has none.

    Raises:
        UsageError: If the URL has another form, if no model is named, or if the URL and the arguments contradict each
            other.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # fails on a host name that cannot be looked up
    except ValueError as error:
        raise _form(url) from error
    if "@" in parts.netloc:
        raise UsageError("The URL of a model server has no user and no password. Received: a URL with @")
    if parts.scheme not in PATHS or not parts.hostname or parts.query or parts.fragment or not url.isprintable():
        raise _form(url)
    path = PATHS[parts.scheme].fullmatch(parts.path)
    if path is None or (port is None and PATHS[parts.scheme] is GRPC):
        raise _form(url)
    in_url = urllib.parse.unquote(path["model"]) if path["model"] else None
    name = _one("model", in_url, model)
    if not name:
        raise UsageError(f"Name the model, by --model or in the URL. Received: {url!r}")
    if not name.isprintable():
        raise UsageError(f"The name of a model is printable text. Received: {name!r}")
    number = _one("version", int(path["version"]) if path["version"] else None, version)
    if number is not None and not 0 <= number <= LARGEST_VERSION:
        raise UsageError(f"A version is a number between 0 and 2**63 - 1. Received: {number}")
    return Address(parts.scheme, parts.netloc, path["prefix"], name, number)


def _one(what: str, in_url: Named | None, option: Named | None) -> Named | None:
    if in_url is not None and option is not None and in_url != option:
        raise UsageError(f"The URL and --{what} name different ones. Received: {in_url!r} and {option!r}")
    return option if in_url is None else in_url


def _form(url: str) -> UsageError:
    return UsageError(
        "The URL of a model server is http://HOST:PORT[/v1/models/NAME[/versions/N]] or grpc://HOST:PORT[/NAME[/N]], "
        f"with https or grpcs for TLS. Received: {url!r}"
    )
