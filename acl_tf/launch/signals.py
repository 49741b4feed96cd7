"""Ctrl-C and SIGTERM of the launcher: the first is passed on to the workers, the second kills them."""

import os
import signal
from types import FrameType, TracebackType


class Signals:
    """Notes SIGINT and SIGTERM inside a `with` block instead of stopping the process.

    Attributes:
        received: Signals that have come so far.
    """

    def __init__(self) -> None:
        self.received: list[signal.Signals] = []

    def __enter__(self) -> "Signals":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received.append(signal.Signals(number))
        effect = "passed on to the workers; once more kills them" if len(self.received) == 1 else "killing the workers"
        # Not by a logger: the signal may have come while stderr was being written.
        os.write(2, f"acl-tf: {self.received[-1].name}: {effect}.\n".encode())
