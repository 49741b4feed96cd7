"""Timing of cases in turns, each in its own processes, so that all see the same machine and no threads of others."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, TypeVar

Spec = TypeVar("Spec")
# Takes one step, waits until it is done and returns a result, which is kept.
Step = Callable[[], Any]


@dataclass(frozen=True)
class Built:
    """A step that a process times.

    Attributes:
        step: Function that takes the step.
        device: Kind of the device, `GPU` or `CPU`.
        afterwards: Function to call in the same process after the last step; its result is added to the case's `about`.
    """

    step: Step
    device: str
    afterwards: Callable[[], dict[str, Any]] = dict


# Maps a specification to its step; a function at the top of a module, so that the other process can import it.
Build = Callable[[Spec], Built]


class Case(Generic[Spec]):
    """A step to time, in a process of its own, or in several that take it together.

    Args:
        build: Function that builds the step in each process.
        specs: Argument of `build` in each process.

    Attributes:
        spec: First of the `specs`.
        seconds: Duration of each timed step.
        results: Result of each timed step in the first process.
        first_seconds: Duration of the very first step, which includes tracing and compilation.
        device: Kind of the device, `GPU` or `CPU`.
        about: Final information from each process.
    """

    def __init__(self, build: Build, specs: Sequence[Spec]) -> None:
        self.spec = specs[0]
        self.seconds: list[float] = []
        self.results: list[Any] = []
        self.about: list[dict[str, Any]] = []
        self._members = [_start(build, spec) for spec in specs]

    def __enter__(self) -> "Case":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process, connection in self._members:
            process.kill()  # workers of TensorFlow ignore SIGTERM
            process.join()
            connection.close()

    def get_ready(self) -> None:
        """Waits until the step is built and warm."""
        self.device, self.first_seconds = self._answers()[0]

    def step(self) -> None:
        """Takes one step and notes its time."""
        seconds, result = self._answers("step")[0]
        self.seconds.append(seconds)
        self.results.append(result)

    def end(self) -> None:
        """Receives the final information from the processes."""
        self.about = self._answers("end")

    def _answers(self, request: str | None = None) -> list[Any]:
        """Sends a request, if there is one, and returns the answers of all processes."""
        try:
            for _, connection in self._members:
                if request is not None:
                    connection.send(request)
            return [connection.recv() for _, connection in self._members]
        except (EOFError, ConnectionError) as error:
            raise SystemExit(f"The process that should time {self.spec} died; see above what it says.") from error


def take_turns(build: Build, wanted: Iterable[Sequence[Spec]], rounds: int) -> list[Case]:
    """Builds all cases one after the other, and times them in rounds, with one step of each case per round.

    Args:
        build: Function that builds the steps.
        wanted: Arguments of `build` in the processes of each case; a case is drawn when the previous one is ready.
        rounds: Number of timed steps of each case.
    """
    with contextlib.ExitStack() as running:
        cases = []
        for specs in wanted:
            cases.append(running.enter_context(Case(build, specs)))
            cases[-1].get_ready()
        for _ in range(rounds):
            for case in cases:
                case.step()
        for case in cases:
            case.end()
    return cases


def _start(build: Build, spec: Any) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, build, spec), daemon=True)
    process.start()
    theirs.close()
    return process, connection


def _serve(connection: Connection, build: Build, spec: Any) -> None:
    """Builds a step, takes it twice to warm up, and then once for each message."""
    # Several processes share a GPU, of which TensorFlow would take all the memory at once.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    built = build(spec)
    first_seconds, _ = _timed(built.step)
    built.step()
    connection.send((built.device, first_seconds))
    while connection.recv() == "step":
        connection.send(_timed(built.step))
    connection.send(built.afterwards())


def _timed(step: Step) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = step()
    return time.perf_counter() - begin, result
