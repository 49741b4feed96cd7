"""A Hub on a local port: what the real client asks for, answered as the Hub answers, and faults on demand."""

import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.hub_api import ROUTES, Refusal
from tests.hub.hub_storage import Repository, User


@dataclass
class Request:
    """One line of the log."""

    method: str
    path: str
    range: str | None = None
    received: int = 0
    sent: int = 0
    status: int = 0


@dataclass
class Fault:
    """What to do to the next requests whose `METHOD path` matches."""

    pattern: str
    times: int
    status: int = 0
    drop_after: int | None = None
    reset: bool = False
    lost: bool = False
    action: Callable[[], Any] | None = None


@dataclass
class Hub:
    """The server's state, which tests set and look at; `with Hub() as hub` runs it.

    Attributes:
        users: By token. `hf_alice_reads` may not write.
        repositories: By `user/name`.
        requests: Everything that was asked, in order.
    """

    users: dict[str, User] = field(
        default_factory=lambda: {
            "hf_alice": User("alice"),
            "hf_alice_reads": User("alice", write=False),
            "hf_bob": User("bob"),
        }
    )
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __enter__(self) -> "Hub":
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        # Another host name, as the Hub keeps large files elsewhere: the client must not send its token there.
        self.storage_url = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, repo_id: str, files: dict[str, bytes] | None = None, **options: Any) -> Repository:
        """Makes a repository that holds these files, past the API."""
        repository = self.repositories[repo_id] = Repository(repo_id, **options)
        if files:
            repository.commit(files)
        return repository

    def answer(self, pattern: str, status: int, times: int = 1) -> None:
        """Answers the next requests, whose "METHOD path" has the pattern, by an error of the server."""
        self.faults.append(Fault(pattern, times, status=status))

    def drop(self, pattern: str, after: int, times: int = 1, reset: bool = False) -> None:
        """Closes the connection after so many bytes of the body, of the request (PUT) or of the answer (GET)."""
        self.faults.append(Fault(pattern, times, drop_after=after, reset=reset))

    def lose(self, pattern: str) -> None:
        """Does what the next request of the pattern asks for, and answers as a proxy that has waited too long."""
        self.faults.append(Fault(pattern, 1, lost=True))

    def before(self, pattern: str, action: Callable[[], Any]) -> None:
        """Calls an action before the next request of the pattern is answered: somebody else was faster."""
        self.faults.append(Fault(pattern, 1, action=action))

    def log(self, pattern: str) -> list[Request]:
        """Returns the requests whose "METHOD path" has the pattern."""
        with self.lock:
            return [entry for entry in self.requests if re.search(pattern, f"{entry.method} {entry.path}")]

    def take_fault(self, line: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and re.search(fault.pattern, line):
                    fault.times -= 1
                    return fault
        return None


class Handler(BaseHTTPRequestHandler):
    """Answers one connection. The functions of `hub_api` get it as their first argument."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # by a fault, or a client that has had enough
            super().handle()

    def handle_request(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.entry = Request(self.command, self.path, self.headers.get("Range"))
        with self.hub.lock:
            self.hub.requests.append(self.entry)
        self.fault = self.hub.take_fault(f"{self.command} {self.path}")
        if not self.read_body():
            return
        try:
            if self.fault and self.fault.action:
                self.fault.action()
            if self.fault and self.fault.status:
                raise Refusal(self.fault.status, "The test wants it so.")
            for method, pattern, function in ROUTES:
                if method == self.command and (match := re.fullmatch(pattern, url.path)):
                    function(self, **{name: unquote(value) for name, value in match.groupdict("").items()})
                    return
            raise Refusal(404, f"The test Hub knows no {self.command} {url.path}")
        except Refusal as error:
            self.send_json({"error": error.message}, error.status, **error.headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request

    # Bytes

    def read_body(self) -> bool:
        """Reads the body; False if a fault has cut the connection."""
        parts = []
        limit = self.fault.drop_after if self.fault and self.command == "PUT" else None
        for part in self.body_parts():
            parts.append(part)
            self.entry.received += len(part)
            if limit is not None and self.entry.received >= limit:
                self.cut()
                return False
        self.body = b"".join(parts)
        return True

    def body_parts(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        left = int(self.headers.get("Content-Length", 0))
        while left and (part := self.rfile.read(min(left, 1 << 16))):
            left -= len(part)
            yield part

    def cut(self) -> None:
        """Ends the connection: by a reset, or as if all had been sent."""
        if self.fault and self.fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
        self.connection.close()

    def send(self, status: int, content: bytes, **headers: str) -> None:
        if self.fault and self.fault.lost:
            status, content = 504, b"{}"
        self.entry.status = status
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        limit = self.fault.drop_after if self.fault and self.command == "GET" else None
        for start in range(0, len(content), 1 << 16):
            part = content[start : start + (1 << 16)]
            if limit is not None and start + len(part) > limit:
                part = part[: limit - start]
                self.wfile.write(part)
                self.entry.sent += len(part)
                self.cut()
                return
            self.wfile.write(part)
            self.entry.sent += len(part)

    def send_json(self, value: Any, status: int = 200, **headers: str) -> None:
        self.send(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def json(self) -> Any:
        return json.loads(self.body)
