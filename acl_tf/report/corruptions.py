"""Accuracy under common corruptions, as one bar per run and corruption and a table by severity.

Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, figure 2.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from acl_tf.printable import printable
from acl_tf.record_text import data
from acl_tf.records import Record
from acl_tf.report.figures import draw
from acl_tf.report.run import Run
from acl_tf.report.section import Section
from acl_tf.report.series import style

SEVERITIES = (1, 2, 3, 4, 5)
MEANS = ("mean_15", "mean_19")
BARS = 6  # runs with bars; if there are more, each is a point in the corruption's row
# Corruption → severity, or "mean" → accuracy, from 0 to 1.
Accuracies = dict[str, dict[int | str, float]]


def section(runs: Sequence[Run]) -> Section:
    """Returns the section of corruptions."""
    tables: dict[str, tuple[Run, Accuracies]] = {}
    for run in runs:
        for name in dict.fromkeys(entry.name for entry in run.entries):
            found = accuracies([entry.record for entry in run.entries if entry.name == name])
            tables |= {name: (run, found)} if found else {}
    if not tables:
        return Section("corruptions", "Corruptions", absent="None of these runs has records of corrupted images.")
    names = dict.fromkeys(name for _, found in tables.values() for name in found)
    order = [name for name in names if name not in MEANS] + [name for name in MEANS if name in names]
    means = {name: [found.get(kind, {}).get("mean") for kind in order] for name, (_, found) in tables.items()}
    titles = [_title(name) for name in order]
    numbers = [run.number for run, _ in tables.values()]
    rows = [
        {"name": name, "style": style(run.number), "table": [(_title(kind), found.get(kind, {})) for kind in order]}
        for name, (run, found) in tables.items()
    ]
    images = sorted({_images(entry.record) for run in runs for entry in run.entries if _is_corruption(entry.record)})
    values = {
        "svg": _figure(titles, list(means.values()), numbers),
        "rows": rows,
        "severities": SEVERITIES,
        "images": "; ".join(images),
    }
    return Section("corruptions", "Corruptions", values)


def accuracies(records: Sequence[Record]) -> Accuracies:
    """Returns the accuracy of each corruption and severity.

    Of several records, the last of those with the most images counts. The mean over the severities comes from the
    record of it or, if there is none, from those of all five.
    """
    found: Accuracies = {}
    for record in sorted(filter(_is_corruption, records), key=_size):
        protocol = record["protocol"]
        severities = found.setdefault(str(protocol["corruption"]), {})
        severities[protocol.get("severity", "mean")] = record["value"]
    for severities in found.values():
        single = [severities[severity] for severity in SEVERITIES if severity in severities]
        if len(single) == len(SEVERITIES):
            severities.setdefault("mean", sum(single) / len(single))
    return found


def _is_corruption(record: Record) -> bool:
    severity = record["protocol"].get("severity", "mean")
    known = severity == "mean" or (type(severity) is int and severity in SEVERITIES)
    return record["metric"] == "corruption_accuracy" and "corruption" in record["protocol"] and known


def _size(record: Record) -> int:
    size = record.get("n")
    return size if isinstance(size, int) else 0


def _images(record: Record) -> str:
    whole = str(record.get("dataset", "")).split("/")[0]  # TFDS has a data set for each corruption
    return f"{data({**record, 'dataset': whole})}, n = {_size(record)}"


def _title(name: str) -> str:
    if name in MEANS:
        return f"Mean of {name.removeprefix('mean_')}"
    text = printable(name).replace("_", " ").capitalize().replace("Jpeg", "JPEG")
    return text if len(text) <= 24 else f"{text[:23]}…"


def _figure(titles: list[str], means: list[list[float | None]], numbers: list[int]) -> Any:
    """Draws the corruptions from top to bottom, each with all runs in order."""
    bars = len(means) <= BARS
    height = (0.22 + 0.07 * len(means) if bars else 0.3) * len(titles) + 0.6

    def paint(axes: Axes) -> None:
        rows = np.arange(len(titles))
        thickness = 0.8 / len(means)
        for place, (number, values) in enumerate(zip(numbers, means, strict=True)):
            y = rows + (place - (len(means) - 1) / 2) * thickness
            percent = np.array([np.nan if value is None else 100 * value for value in values])
            colour = style(number).placeholder
            if bars:
                axes.barh(y, percent, thickness, color=colour)
            else:
                filled = "none" if style(number).dash else colour
                axes.plot(percent, y, "o", color=colour, markerfacecolor=filled, markersize=3.5)
        axes.set_yticks(rows, titles)
        axes.set_ylim(len(titles) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.tick_params(left=False)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("accuracy, mean of the severities, %")

    return draw("corruptions", "Accuracy under each corruption", paint, size=(7.5, height))
