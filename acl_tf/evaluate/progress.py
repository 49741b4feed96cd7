"""Progress of an evaluation: one bar per measurement on a terminal, or lines of text where there is none."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 10.0


class EvaluationProgress:
    """Shows on stderr the current measurement and how many of its images are done."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}
        self.said = 0.0

    def __enter__(self) -> "EvaluationProgress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, title: str, done: int, total: int, note: str = "") -> None:
        """Shows that `done` of `total` images of a measurement are done, with a note."""
        if title not in self.tasks:
            self.tasks[title] = self.bar.add_task(title, total=total)
        self.bar.update(self.tasks[title], completed=done, description=f"{title}  {note}".rstrip())
        now = time.monotonic()
        if not self.console.is_terminal and (done == total or now - self.said > SECONDS_BETWEEN_LINES):
            self.said = now
            self.console.print(f"{title}  {done}/{total} images  {note}".rstrip(), soft_wrap=True)
