"""Cases that are timed in turns, each in processes of its own: all see the same machine, none another's threads."""

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
# Takes one step and waits until it is done; what it returns is kept.
Step = Callable[[], Any]


@dataclass(frozen=True)
class Built:
    """What a process times.

    Attributes:
        step: The step.
        device: `GPU` or `CPU`.
        afterwards: Called in the same process after the last step; what it returns, the case's `about` tells.
    """

    step: Step
    device: str
    afterwards: Callable[[], dict[str, Any]] = dict


# From what is to be timed to its step; a function of a module, so that the other process finds it.
Build = Callable[[Spec], Built]


class Case(Generic[Spec]):
    """A step to time, in a process of its own, or in several that take it together.

    Args:
        build: Makes the step.
        specs: What is to be timed: what `build` gets in each process.

    Attributes:
        spec: The first of `specs`.
        seconds: Of each timed step.
        results: Of each timed step, in the first process.
        first_seconds: Of the very first step, in which it is traced and compiled.
        device: `GPU` or `CPU`.
        about: What each process tells in the end.
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
        """Returns once the step is built and warm."""
        self.device, self.first_seconds = self._answers()[0]

    def step(self) -> None:
        """Takes one step and notes its time."""
        seconds, result = self._answers("step")[0]
        self.seconds.append(seconds)
        self.results.append(result)

    def end(self) -> None:
        """Asks what the processes have to tell in the end."""
        self.about = self._answers("end")

    def _answers(self, request: str | None = None) -> list[Any]:
        """Sends a request, if there is one, and returns the answer of each process once all have answered."""
        try:
            for _, connection in self._members:
                if request is not None:
                    connection.send(request)
            return [connection.recv() for _, connection in self._members]
        except (EOFError, ConnectionError) as error:
            raise SystemExit(f"The process that should time {self.spec} died; see above what it says.") from error


def take_turns(build: Build, wanted: Iterable[Sequence[Spec]], rounds: int) -> list[Case]:
    """Times all cases, one step of each a round. They are built one after the other.

    Args:
        build: Makes their steps.
        wanted: For each case what each of its processes gets; asked for when the one before is ready.
        rounds: How many steps of each.
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
    """Builds a step, warms it up by two, and takes one for each message."""
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
