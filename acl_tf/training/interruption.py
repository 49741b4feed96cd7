"""Ctrl-C and SIGTERM: finish the step, keep the state, say how to go on."""

import os
import signal
from types import FrameType, TracebackType


class Interruption:
    """Notes SIGINT and SIGTERM inside a `with` block instead of stopping at once; a second signal stops at once.

    Attributes:
        signal: The signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        # Not by a logger: the signal may have come while stderr was being written.
        os.write(2, f"acl-tf: {self.signal.name}: finishing the step and saving; once more stops at once.\n".encode())
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
