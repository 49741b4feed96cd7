"""Output of several workers: whole lines, one after the other, each saying whose it is."""

import re
import threading
from collections.abc import Iterator
from typing import BinaryIO

# A carriage return, with which progress bars overwrite themselves, ends a line as well; the one of "\r\n" does not.
LINE = re.compile(rb"([^\r\n]*)(?:\r?\n|\r(?=[^\n]))")


class Sink:
    """A stream that several threads write to.

    Args:
        stream: Where it all goes.

    Attributes:
        error: Why the stream takes no more, or None.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.error: OSError | None = None
        self._lock = threading.Lock()

    def write(self, line: bytes) -> None:
        """Writes a line at once. After an error nothing is written: a worker must not block on a pipe nobody reads."""
        with self._lock:
            if self.error is None:
                try:
                    self.stream.write(line)
                    self.stream.flush()
                except OSError as error:
                    self.error = error


class Pump(threading.Thread):
    """Passes on what a worker writes, line by line as they come, until nobody can write any more.

    Args:
        source: The worker's stdout or stderr, unbuffered.
        sink: Where it goes.
        prefix: What stands before each line; None: the lines go on as they are, to the byte.
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
    """Yields a stream in parts that end where a line does; what is left at its end is the last part."""
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
    """Yields the lines of a stream without their ends; what is left at its end is one, too."""
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
