"""Training curves of all runs, for every metric of `metrics.jsonl` except those of the validation."""

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

from matplotlib.axes import Axes

from acl_tf.printable import printable
from acl_tf.report.figures import MANY, draw, line
from acl_tf.report.run import Run
from acl_tf.report.section import Section
from acl_tf.report.series import style

POINTS = 250  # of a line; more rows are averaged, so that a page with twenty runs of 1000 epochs still opens
LAST = ("feature_std", "gradient_norm", "learning_rate", "images_per_second")
Points = list[tuple[float, float]]


def section(runs: Sequence[Run]) -> Section:
    """Returns the section of training curves."""
    trained = [run for run in runs if run.rows]
    metrics = _metrics(trained)
    if not metrics:
        return Section("curves", "Training", absent="None of these folders has metrics of a training.")
    by_epoch = all(run.rows[-1]["epoch"] > 1 for run in trained)
    figures = []
    for number, metric in enumerate(metrics):
        lines = {run.number: points(run, metric, by_epoch) for run in trained}
        title = printable(metric).replace("_", " ")
        figures.append({"title": title, "svg": _figure(f"curve{number}", title, lines, by_epoch)})
    averaged = any(len(run.rows) > POINTS for run in trained)
    legend = [{"name": run.name, "style": style(run.number)} for run in trained]
    return Section("curves", "Training", {"figures": figures, "legend": legend, "points": averaged and POINTS})


def points(run: Run, metric: str, by_epoch: bool) -> Points:
    """Returns a metric over (fractional) epochs or over steps, averaged to at most `POINTS` points."""
    steps_per_epoch = _steps_per_epoch(run) if by_epoch else 1.0
    found = [(row["step"] / steps_per_epoch, row[metric]) for row in run.rows if is_number(row.get(metric))]
    size = math.ceil(len(found) / POINTS) or 1
    groups = [found[begin : begin + size] for begin in range(0, len(found), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def is_number(value: Any) -> TypeGuard[float]:
    """Returns whether a value of a file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _steps_per_epoch(run: Run) -> float:
    """Returns the steps per epoch, from the epochs before the last, which may be unfinished."""
    whole = run.rows[-1]["epoch"] - 1
    return max((row["step"] for row in run.rows if row["epoch"] <= whole), default=1) / whole


def _metrics(runs: Sequence[Run]) -> list[str]:
    """Returns the names of the metrics: losses first, others in the order of the log, those in `LAST` at the end."""
    rows = [row for run in runs for row in run.rows]
    logged = dict.fromkeys(name for row in rows for name, value in row.items() if is_number(value))
    names = [name for name in logged if name not in ("step", "epoch") and not name.startswith("validation_")]

    def place(name: str) -> tuple[bool, ...]:
        return name != "loss", not name.startswith("loss"), "loss" not in name, name in LAST

    return sorted(names, key=place)


def _figure(key: str, title: str, lines: dict[int, Points], by_epoch: bool) -> str:
    def paint(axes: Axes) -> None:
        for number, line_points in lines.items():
            if line_points:
                line(axes, number, [x for x, _ in line_points], [y for _, y in line_points], len(lines) > MANY)
        axes.set_xlabel("epoch" if by_epoch else "step")

    return draw(key, title, paint)
