"""Progress of a training on the terminal: a bar, or lines where there is no terminal."""

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from acl_tf.horizon import Horizon


class TrainingProgress:
    """Shows how far a training is, how fast it is and how long it will take, on stderr.

    Args:
        first_step: Number of steps before the first; more than 0 where the training is resumed.
        horizon: Length of each epoch.
    """

    def __init__(self, first_step: int, horizon: Horizon) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.first_step = first_step
        self.horizon = horizon
        self.begin = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[measured]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=horizon.steps, completed=first_step, measured="tracing the step …")

    def __enter__(self) -> "TrainingProgress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()

    def advance(self, step: int) -> None:
        """Notes that `step` steps are done."""
        self.bar.update(self.task, completed=step, description=self._epoch(step))

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Shows what was measured since the last report."""
        rate = values.get("images_per_second")  # the first step of a process is not timed
        measured = f"loss {values['loss']:.4f}" + (f"  {rate:.1f} images/s" if rate is not None else "")
        self.bar.update(self.task, measured=measured)
        if not self.console.is_terminal:
            seconds = (time.monotonic() - self.begin) / (step - self.first_step) * (self.horizon.steps - step)
            self.console.print(
                f"step {step}/{self.horizon.steps}  {self._epoch(step)}  {measured}  {_clock(seconds)} left",
                soft_wrap=True,
            )

    def _epoch(self, step: int) -> str:
        return f"epoch {self.horizon.epoch_of(step)}/{self.horizon.epochs}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
