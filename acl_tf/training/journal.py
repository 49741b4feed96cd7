"""The journal of a training: measurements, progress, checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass

from acl_tf.horizon import Horizon
from acl_tf.training.checkpoints import Checkpoints
from acl_tf.training.metrics_log import MetricsLog
from acl_tf.training.progress import TrainingProgress


class Journal:
    """The journal of a worker that is not the chief: it keeps nothing."""

    def advance(self, step: int) -> None:
        """Notes that `step` steps are done."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Notes what was measured since the last time."""

    def save(self, step: int) -> None:
        """Keeps the state after `step` steps."""

    def saved(self) -> str:
        """Returns words for where the present state is."""
        return "saved by worker 0"

    def kept(self) -> str:
        """Returns words for where the newest good state is."""
        return "Worker 0 keeps the last good checkpoint"


@dataclass
class ChiefsJournal(Journal):
    """Writes the run folder, and shows how far the training is.

    Attributes:
        log: File of the measurements.
        progress: Display of the progress.
        checkpoints: Folder of the states.
        horizon: Length of each epoch.
    """

    log: MetricsLog
    progress: TrainingProgress
    checkpoints: Checkpoints
    horizon: Horizon

    def advance(self, step: int) -> None:
        self.progress.advance(step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self.log.write(step, self.horizon.epoch_of(step), values)
        self.progress.report(step, values)

    def save(self, step: int) -> None:
        self.checkpoints.save(step)

    def saved(self) -> str:
        return f"saved as {self.checkpoints.paths()[-1]}"

    def kept(self) -> str:
        paths = self.checkpoints.paths()
        return f"The last good checkpoint is {paths[-1]}" if paths else "There is no checkpoint yet"
