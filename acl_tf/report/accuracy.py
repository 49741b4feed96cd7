"""TA and RA of all runs side by side, one column per protocol; below, every record with its settings."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from acl_tf import record_text
from acl_tf.attacks import NORM_WORDS
from acl_tf.nested import flat
from acl_tf.printable import printable
from acl_tf.records import FINDINGS, NamedRecord, Record
from acl_tf.report.run import Run
from acl_tf.report.section import Section
from acl_tf.report.series import style

METRICS = {
    "accuracy": "TA",
    "robust_accuracy": "RA",
    "uar": "UAR",
    "corruption_accuracy": "Corruption accuracy",
    "certified_accuracy": "Certified accuracy",
    "knn_accuracy": "k-NN accuracy",
    "pseudo_label_accuracy": "Pseudo-label accuracy",
}
# Keys that may differ within a column: the model, the seed, and results of AutoAttack that are not the value.
NO_PROTOCOL = ("seed", "epoch", "encoder", *FINDINGS)
Key = tuple[tuple[str, str], ...]


def section(runs: Sequence[Run]) -> Section:
    """Returns the section of accuracies."""
    entries = [(run, entry) for run in runs for entry in run.entries]
    if not entries:
        return Section("accuracy", "Accuracy", absent="None of these runs was evaluated yet; see acl-tf evaluate.")
    columns = _columns([entry.record for _, entry in entries])
    cells: dict[tuple[str, Key], list[Record]] = defaultdict(list)
    owners: dict[str, Run] = {}
    for run, entry in entries:
        owners.setdefault(entry.name, run)
        cells[entry.name, protocol_key(entry.record)].append(entry.record)
    shown = [
        {"name": name, "style": style(run.number), "cells": [cells[name, key] for key in columns]}
        for name, run in owners.items()
        if any(cells[name, key] for key in columns)
    ]
    best = {key: max(record["value"] for name in owners for record in cells[name, key]) for key in columns}
    values = {
        "columns": list(columns.values()),
        "rows": shown,
        "best": list(best.values()) if len(shown) > 1 else [None] * len(columns),
        "records": [_cells(entry) for _, entry in entries],
        "text": record_text,
    }
    return Section("accuracy", "Accuracy", values)


def protocol_key(record: Record) -> Key:
    """Returns everything that must agree for two values to be comparable, in a fixed order."""
    protocol = {key: value for key, value in record["protocol"].items() if key not in NO_PROTOCOL}
    settings = {key: str(value) for key, value in flat(protocol).items() if not key.endswith(".seed")}
    about = {key: str(record.get(key)) for key in ("metric", "dataset", "split", "n")}
    return tuple(sorted({**about, **settings}.items()))


def metric_name(metric: str) -> str:
    """Returns the short name of a metric."""
    return METRICS.get(metric, printable(metric).replace("_", " "))


def _columns(records: Sequence[Record]) -> dict[Key, dict[str, str]]:
    """Returns the headings of the columns.

    Single corruptions and certified radii have sections of their own; unforeseen attacks are shown by their means.
    """
    first: dict[Key, Record] = {}
    for record in records:
        if not _is_detail(record):
            first.setdefault(protocol_key(record), record)
    order = {metric: place for place, metric in enumerate(METRICS)}
    keys = sorted(first, key=lambda key: order.get(first[key]["metric"], len(order)))  # else as they come
    headings = {key: _heading(first[key]) for key in keys}
    twins = {key: [other for other in keys if other != key and headings[other] == headings[key]] for key in keys}
    return {key: {**headings[key], "difference": _difference(key, twins[key])} for key in keys}


def _is_detail(record: Record) -> bool:
    if "distortion" in record["protocol"]:
        return record["protocol"].get("strength", "mean") != "mean"
    if record["metric"] in ("certified_accuracy", "abstention"):  # the highest abstention is not the best
        return record["metric"] == "abstention" or bool(record["protocol"].get("radius"))
    corruption = record["protocol"].get("corruption")
    mean = str(corruption).startswith("mean_") and record["protocol"].get("severity", "mean") == "mean"
    return corruption is not None and not mean


def _heading(record: Record) -> dict[str, str]:
    attack = record_text.attack(record["protocol"])
    size = f"n = {record['n']}" if record.get("n") is not None else ""
    return {
        "metric": metric_name(record["metric"]),
        "attack": "" if attack == "none" else attack,
        "data": ", ".join(part for part in (record_text.data(record), printable(size)) if part),
    }


def _difference(key: Key, twins: Sequence[Key]) -> str:
    """Returns the settings in which a protocol differs from others with the same heading."""
    own = dict(key)
    names = {name for twin in twins for name in {**own, **dict(twin)} if own.get(name) != dict(twin).get(name)}
    return ", ".join(f"{printable(name)} {_short(own[name])}" for name in sorted(names & own.keys()))


def _short(setting: str) -> str:
    try:
        return record_text.epsilon(float(setting))
    except ValueError:
        return printable(setting)


def _cells(entry: NamedRecord) -> Mapping[str, Any]:
    record, protocol = entry.record, entry.record["protocol"]
    shown = {"attack", "norm", "epsilon", "step_size", "steps", "restarts", "seed", "encoder"}
    rest = {key: value for key, value in flat(protocol).items() if key not in shown}
    sizes = {
        key: record_text.epsilon(protocol[key]) if protocol.get(key) is not None else ""
        for key in ("epsilon", "step_size")
    }
    return {
        "name": entry.name,
        "metric": metric_name(record["metric"]),
        "attack": record_text.attack_name(protocol.get("attack", "none")),
        "norm": NORM_WORDS.get(str(protocol.get("norm")), printable(protocol.get("norm") or "")),
        **sizes,
        **{key: printable(protocol.get(key, "")) for key in ("steps", "restarts", "seed")},
        "value": record_text.number(record),
        "n": printable(record.get("n", "")),
        "data": record_text.data(record),
        "rest": ", ".join(printable(f"{key} {value}") for key, value in rest.items()),
        "versions": printable(" / ".join(str(record.get(key, "–")) for key in ("acl_tf", "tensorflow", "keras"))),
        "date": printable(record.get("date", ""))[:10],
    }
