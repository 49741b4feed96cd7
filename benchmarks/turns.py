"""Cases that are timed in turns, each in a process of its own: all see the same machine, none another's threads."""

import argparse
import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

# Takes one step and waits until it is done; what it returns is kept.
Step = Callable[[], Any]
# From framework, precision and the command line to a step and its device, `GPU` or `CPU`.
Build = Callable[[str, str, argparse.Namespace], tuple[Step, str]]


class Case:
    """A step to time, in a process of its own.

    Args:
        framework: `acl_tf`, `pytorch` or `pytorch_lean`.
        precision: As a Keras dtype policy.
        build: Makes the step; a function of a module, so that the other process finds it.
        arguments: Of the command line.

    Attributes:
        seconds: Of each timed step.
        results: Of each timed step.
        device: `GPU` or `CPU`.
    """

    def __init__(self, framework: str, precision: str, build: Build, arguments: argparse.Namespace) -> None:
        self.framework = framework
        self.precision = precision
        self.seconds: list[float] = []
        self.results: list[Any] = []
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        given = (theirs, build, framework, precision, arguments)
        self.process = context.Process(target=serve, args=given, daemon=True)
        self.process.start()
        theirs.close()
        self.device = self.connection.recv()  # once the step is built and warm

    def step(self) -> None:
        """Takes one step and notes its time."""
        self.connection.send("step")
        seconds, result = self.connection.recv()
        self.seconds.append(seconds)
        self.results.append(result)

    def end(self) -> None:
        """Ends the process."""
        self.connection.send("end")
        self.process.join()


def serve(connection: Connection, build: Build, framework: str, precision: str, arguments: argparse.Namespace) -> None:
    """Builds a step, warms it up by two, and takes one for each message."""
    step, device = build(framework, precision, arguments)
    step()
    step()
    connection.send(device)
    while connection.recv() == "step":
        begin = time.perf_counter()
        result = step()
        connection.send((time.perf_counter() - begin, result))


def take_turns(
    wanted: Sequence[tuple[str, str]], build: Build, rounds: int, arguments: argparse.Namespace
) -> list[Case]:
    """Times all cases, one step of each a round.

    Args:
        wanted: Framework and precision of each case.
        build: Makes their steps.
        rounds: How many steps of each.
        arguments: Of the command line.
    """
    cases = [Case(framework, precision, build, arguments) for framework, precision in wanted]
    for _ in range(rounds):
        for case in cases:
            case.step()
    for case in cases:
        case.end()
    return cases
