"""Output of several workers: whole lines, each with the number of its worker."""

import re
import threading
from collections.abc import Iterator
from typing import BinaryIO

# A carriage return, by which a progress bar overwrites itself, also ends a line, unless it is part of "\r\n".
LINE = re.compile(rb"([^\r\n]*)(?:\r?\n|\r(?=[^\n]))")


class Sink:
    """A stream that several threads write to.

    Args:
        stream: Stream to write to.

    Attributes:
        error: Error after which nothing more was written, or None.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.error: OSError | None = None
        self._lock = threading.Lock()

    def write(self, line: bytes) -> None:
        """Writes a line as a whole, but nothing after an error: no worker may block on a pipe that nobody reads."""
        with self._lock:
            if self.error is None:
                try:
                    self.stream.write(line)
                    self.stream.flush()
                except OSError as error:
                    self.error = error


class Pump(threading.Thread):
    """Passes on the output of a worker, line by line, until its end.

    Args:
        source: Unbuffered stdout or stderr of the worker.
        sink: Destination of the lines.
        prefix: Text before each line; None: all bytes are passed on unchanged.
    """

    def __init__(self, source: BinaryIO, sink: Sink, prefix: str | None) -> None:
        super().__init__(daemon=True)
        self.source = source
        self.sink = sink
        self.prefix = prefix

    def run(self) -> None:
        with self.source:
            chunks = iter(lambda: self.source.read(65536), b"")
            if self.prefix is None:
                for part in whole_lines(chunks):
                    self.sink.write(part)
            else:
                for line in lines(chunks):
                    self.sink.write(self.prefix.encode() + line + b"\n")


def whole_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yields a stream in parts that end with a line; the last part may end without one."""
    rest = b""
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if end:
            yield rest + chunk[:end]
            rest = b""
        rest += chunk[end:]
    if rest:
        yield rest


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yields the lines of a stream without their ends, also a last line that has no end."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        end = 0
        for match in LINE.finditer(rest):
            if match[1] or match[0].endswith(b"\n"):  # a bar may begin with its carriage return
                yield match[1]
            end = match.end()
        rest = rest[end:]
    if rest := rest.rstrip(b"\r"):
        yield rest
