"""A plot of the cost of an image, in seconds of a step, over the batch size and over the number of replicas.

    python benchmarks/pretrain_step.py --batch-size 16 32 64 128 --json step.json
    python benchmarks/scaling.py --json scaling.json
    python benchmarks/plot_cost.py step.json scaling.json --output cost.svg

Reads the JSON of `pretrain_step.py` (one line for each framework, precision and whatever else varies) and of
`scaling.py` (one line for each strategy, which begins with the single replica that has the whole machine).
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = dict[str, Any]
WORKLOAD = ("framework", "precision", "arch", "width", "attack_steps")
STEP = (*WORKLOAD, "micro_batches", "steps_per_call", "jit")
SCALING = ("strategy", "threads", *WORKLOAD, "scaling", "batch")
# Keys that are part of a line's name, even if all lines have the same value.
NAMED = ("framework", "precision", "strategy")


class Line(NamedTuple):
    """A line of the plot: its label, its positions, and the seconds per image."""

    label: str
    x: list[int]
    y: list[float]


def main() -> None:
    """Reads the rows and writes the plot."""
    arguments = parse()
    rows = [row for file in arguments.files for row in json.loads(file.read_text(encoding="utf-8"))]
    if strange := [row for row in rows if not {"batch_size", "attack_steps", "images_per_second"} <= row.keys()]:
        raise SystemExit(f"Expected rows of pretrain_step.py and scaling.py. Received: {strange[0]}")
    panels = {
        "images in a batch": step_lines([row for row in rows if "strategy" not in row]),
        "replicas": scaling_lines([row for row in rows if "strategy" in row]),
    }
    matplotlib.rcParams["svg.hashsalt"] = "cost"  # the same rows give the same file
    draw({title: lines for title, lines in panels.items() if lines}).savefig(arguments.output)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="JSON of pretrain_step.py and scaling.py")
    parser.add_argument("--output", metavar="FILE", type=Path, default=Path("cost.svg"), help="default: %(default)s")
    return parser.parse_args()


def step_lines(rows: Sequence[Row]) -> list[Line]:
    """Returns the lines over the batch size."""
    return lines(rows, STEP, "batch_size")


def scaling_lines(rows: Sequence[Row]) -> list[Line]:
    """Returns the lines over the number of replicas, and a point for each single replica with a part of the cores."""
    strategies = dict.fromkeys(row["strategy"] for row in rows if row["strategy"] != "none")
    points = []
    for row in rows:
        point = {**row, "batch": row["batch_size" if row["scaling"] == "strong" else "batch_per_replica"]}
        if row["strategy"] != "none":
            points.append({**point, "threads": None})
        elif row["threads"] is not None or not strategies:
            points.append({**point, "strategy": "one replica"})
        else:
            points += [{**point, "strategy": strategy} for strategy in strategies]
    return lines(points, SCALING, "replicas")


def lines(rows: Sequence[Row], keys: Sequence[str], x: str) -> list[Line]:
    """Returns a line for each combination of values of the keys in the rows.

    Args:
        rows: Rows of all points.
        keys: Keys whose values are the same for all points of a line.
        x: Key of the positions on the x axis.
    """
    varied = [key for key in keys if len({row[key] for row in rows}) > 1]
    groups: dict[tuple, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row[x]):
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    found = []
    for values, points in groups.items():
        told = [
            value if key in NAMED else f"{key.replace('_', ' ')} {value}"
            for key, value in zip(keys, values)
            if key in NAMED or (key in varied and value is not None)
        ]
        costs = [1 / row["images_per_second"] for row in points]
        found.append(Line(", ".join(told), [row[x] for row in points], costs))
    return found


def draw(panels: dict[str, list[Line]]) -> Figure:
    """Returns a figure with a panel for each kind of lines, whose title is the label of the x axis."""
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for number, (title, found) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), number + 1)
        for index, line in enumerate(found):
            (drawn,) = axes.plot(line.x, line.y, marker="o", label=line.label)
            drawn.set_gid(f"cost-{number}-{index}")
        label(axes, title, sorted({x for line in found for x in line.x}))
    return figure


def label(axes: Axes, title: str, ticks: list[int]) -> None:
    """Labels the axes and the lines."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(title)
    axes.set_ylabel("seconds per image")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


if __name__ == "__main__":
    main()
