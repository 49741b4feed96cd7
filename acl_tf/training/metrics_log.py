"""What training measures: JSON lines, and the same as TensorBoard scalars."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from acl_tf.files import write_atomically


class MetricsLog:
    """Writes `metrics.jsonl` and `tensorboard/` of a run folder.

    Opening it cuts both back to a step, so that a resumed run has each step once.

    Args:
        folder: The run folder.
        step: Step of the checkpoint that the run goes on from; rows of later steps are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "metrics.jsonl"
        rows = [row for row in read_metrics(self.path) if row["step"] <= step]
        write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in rows))
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard"))
        for row in rows:
            self._write_scalars(row)

    def write(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Appends one row.

        Args:
            step: Number of steps taken.
            epoch: Number of epochs begun.
            values: Measurements since the last row; one that is not finite (an overflow in float16) is written as null.
        """
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        row = {"step": step, "epoch": epoch, **finite}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._write_scalars(row)

    def close(self) -> None:
        """Flushes the TensorBoard events."""
        self.writer.close()

    def _write_scalars(self, row: Mapping[str, Any]) -> None:
        with self.writer.as_default(step=row["step"]):
            for name, value in row.items():
                if name != "step" and value is not None:
                    tf.summary.scalar(name, value)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a `metrics.jsonl`; without the last one where a crash cut it short."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
