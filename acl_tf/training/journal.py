"""What a training leaves behind as it goes: measurements, progress, checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from acl_tf.data.batches import epoch_of
from acl_tf.training.checkpoints import Checkpoints
from acl_tf.training.metrics_log import MetricsLog
from acl_tf.training.progress import TrainingProgress


class Journal:
    """That of a worker which is not the chief: it leaves nothing."""

    def advance(self, step: int) -> None:
        """Notes that `step` steps are done."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Notes what was measured since the last time."""

    def save(self, step: int) -> None:
        """Keeps the state after `step` steps."""

    def newest(self) -> str:
        """Returns the name of the newest state, for messages."""
        return "in the run folder of worker 0"


@dataclass
class ChiefsJournal(Journal):
    """Writes the run folder, and shows how far the training is.

    Attributes:
        log: Where measurements go.
        progress: What the user sees.
        checkpoints: Where the state goes.
        steps_per_epoch: To name the epoch of a step.
    """

    log: MetricsLog
    progress: TrainingProgress
    checkpoints: Checkpoints
    steps_per_epoch: int

    def advance(self, step: int) -> None:
        self.progress.advance(step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self.log.write(step, epoch_of(step, self.steps_per_epoch), values)
        self.progress.report(step, values)

    def save(self, step: int) -> None:
        self.checkpoints.save(step)

    def newest(self) -> str:
        kept: list[Path] = self.checkpoints.paths()
        return str(kept[-1]) if kept else ""
