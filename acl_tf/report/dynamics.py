"""Robustness dynamics: accuracies on validation images after every epoch of fine-tuning.

Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, figure 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from acl_tf.report.curves import is_number
from acl_tf.report.figures import MANY, draw, line
from acl_tf.report.run import Run
from acl_tf.report.section import Section
from acl_tf.report.series import style

ABSENT = "None of these runs is a fine-tuning that validated after its epochs."


class Epoch(NamedTuple):
    """The number of an epoch, from 1, and the accuracies on validation images after it, from 0 to 1."""

    number: int
    robust_accuracy: float
    accuracy: float | None


def section(runs: Sequence[Run]) -> Section:
    """Returns the section of robustness dynamics."""
    validated = {run.number: epochs(run) for run in runs if epochs(run)}
    if not validated:
        return Section("dynamics", "Robustness dynamics", absent=ABSENT)
    rows = []
    for run in (run for run in runs if run.number in validated):
        chosen = selected(run, validated[run.number])
        last = validated[run.number][-1]
        rows.append({"name": run.name, "style": style(run.number), "selected": chosen, "last": last})
    marks = {run.number: selected(run, validated[run.number]) for run in runs if run.number in validated}
    figures = [
        {"title": f"{name} on validation images, %", "svg": _figure(key, name, field, validated, marks)}
        for key, name, field in (("dynamics-ra", "RA", "robust_accuracy"), ("dynamics-ta", "TA", "accuracy"))
        if any(getattr(epoch, field) is not None for found in validated.values() for epoch in found)
    ]
    marked = any(mark for mark in marks.values())
    return Section("dynamics", "Robustness dynamics", {"figures": figures, "rows": rows, "marked": marked})


def epochs(run: Run) -> list[Epoch]:
    """Returns the epochs with validation; the last row of each epoch counts."""
    found = {}
    for row in run.rows:
        robust, clean = row.get("validation_robust_accuracy"), row.get("validation_accuracy")
        if is_number(robust):
            found[row["epoch"]] = Epoch(row["epoch"], float(robust), float(clean) if is_number(clean) else None)
    return list(found.values())


def selected(run: Run, found: Sequence[Epoch]) -> Epoch | None:
    """Returns the epoch whose model was selected, or None if the run keeps the last model.

    The model's recipe names it as `epoch`. Otherwise, if the run has both a selected and a last model, it is the epoch
    with the highest robust accuracy; ties go to the highest accuracy, then to the first epoch.
    """
    named = run.setting("epoch")
    if named is not None:
        return next((epoch for epoch in found if epoch.number == named), None)
    return max(found, key=lambda epoch: (epoch.robust_accuracy, epoch.accuracy or 0.0)) if run.selects else None


def _figure(key: str, name: str, field: str, runs: dict[int, list[Epoch]], marks: dict[int, Epoch | None]) -> str:
    def paint(axes: Axes) -> None:
        for number, found in runs.items():
            shown = [epoch for epoch in found if getattr(epoch, field) is not None]
            heights = [100 * getattr(epoch, field) for epoch in shown]
            line(axes, number, [epoch.number for epoch in shown], heights, len(runs) > MANY)
            mark = marks[number]
            if mark in shown:
                height = 100 * getattr(mark, field)
                colour = style(number).placeholder
                axes.plot([mark.number], [height], marker="o", markersize=6, color=colour, markerfacecolor="none")
        axes.set_xlabel("epoch")

    return draw(key, f"{name} after every epoch", paint, size=(4.4, 2.9))
