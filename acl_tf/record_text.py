"""Short, readable text for the contents of records."""

import re
from collections.abc import Mapping
from typing import Any

from acl_tf.attacks import ATTACK_WORDS, NORM_WORDS
from acl_tf.printable import printable

DISTORTIONS = {**NORM_WORDS, "jpeg_linf": "l∞-JPEG", "jpeg_l2": "l2-JPEG", "jpeg_l1": "l1-JPEG", "gabor": "Gabor"}
# Headings of a table of records, whose rows `cells` makes.
COLUMNS = ("metric", "attack", "value %", "n", "data", "seed")


def epsilon(value: Any) -> str:
    """Formats a radius in pixels: `8/255` where it is such a fraction, `0.1` where that is shorter."""
    if not isinstance(value, int | float):
        return printable(value)
    short = f"{value:.6g}"
    numerator = round(value * 255)
    if len(short) > 5 and numerator and abs(value * 255 - numerator) < 1e-4:
        return f"{numerator}/255"
    return short


def number(record: Mapping[str, Any]) -> str:
    """Formats the value of a record: shares of the images in per cent, without the sign; a radius with its norm."""
    value, metric = record["value"], record["metric"]
    if metric.endswith(("accuracy", "abstention")) or metric == "uar":
        return f"{100 * value:.2f}"
    return f"{value:.4g} {_norm(record.get('protocol', {}))}".rstrip() if metric.endswith("radius") else f"{value:.4g}"


def data(record: Mapping[str, Any]) -> str:
    """Returns the names of data set and split, such as `cifar10/test`."""
    return printable("/".join(str(record[key]) for key in ("dataset", "split") if record.get(key)))


def attack_name(name: Any) -> str:
    """Formats the name of an attack: `PGD-20` for `pgd20`."""
    steps = re.fullmatch(r"pgd(\d+)", str(name))
    return f"PGD-{steps[1]}" if steps else ATTACK_WORDS.get(str(name), printable(name))


def attack(protocol: Mapping[str, Any]) -> str:
    """Formats an attack, or a corruption, in one line: `PGD-20 l∞ 8/255, 1 restart`."""
    name = attack_name(protocol.get("attack", "none"))
    if "corruption" in protocol:
        corrupted = corruption(protocol)
        return corrupted if name == "none" else f"{name}, {corrupted}"
    norm = _norm(protocol)
    radius = epsilon(protocol["epsilon"]) if protocol.get("epsilon") is not None else ""
    if "distortion" in protocol:
        norm, radius = distortion(protocol), ""
    version = printable(protocol["version"]) if protocol.get("version", "standard") != "standard" else ""
    parts = [" ".join(part for part in (name, version, "" if name == "none" else norm, radius) if part)]
    for key, unit in (("steps", "step"), ("restarts", "restart")):
        count = protocol.get(key)
        redundant = count is None or (key == "steps" and name.endswith(f"-{count}"))
        parts += [] if redundant else [f"{printable(count)} {unit}{'' if count == 1 else 's'}"]
    parts += [f"EOT {printable(protocol['eot'])}"] if protocol.get("eot") not in (None, 1) else []
    parts += [f"sigma {epsilon(protocol['sigma'])}"] if "sigma" in protocol else []
    draws = protocol.get("samples", protocol.get("n"))
    parts += [f"{printable(draws)} draws"] if "sigma" in protocol and draws is not None else []
    parts += [f"{norm} radius {epsilon(protocol['radius'])}".lstrip()] if "radius" in protocol else []
    parts += ["targeted"] if protocol.get("targeted") is True else []
    return ", ".join(parts)


def corruption(protocol: Mapping[str, Any]) -> str:
    """Formats a corruption and its severity: `fog, severity 3`, `mean of 15 corruptions`."""
    kind = str(protocol["corruption"])
    mean = re.fullmatch(r"mean_(\d+)", kind)
    name = f"mean of {mean[1]} corruptions" if mean else printable(kind).replace("_", " ")
    severity = protocol.get("severity", "mean")
    return name if severity == "mean" else f"{name}, severity {printable(severity)}"


def distortion(protocol: Mapping[str, Any]) -> str:
    """Formats a distortion of an unforeseen attack and its strength: `snow, strength 3`, `mean of 9 distortions`."""
    kind = str(protocol["distortion"])
    mean = re.fullmatch(r"mean_(\d+)", kind)
    name = f"mean of {mean[1]} distortions" if mean else DISTORTIONS.get(kind, printable(kind))
    strength = protocol.get("strength", "mean")
    return name if strength == "mean" else f"{name}, strength {printable(strength)}"


def cells(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns a record as a row of a table, in the order of `COLUMNS`."""
    return (
        printable(record["metric"]),
        attack(record["protocol"]),
        number(record),
        printable(record.get("n", "")),
        data(record),
        printable(record["protocol"].get("seed", "")),
    )


def _norm(protocol: Mapping[str, Any]) -> str:
    return NORM_WORDS.get(str(protocol["norm"]), printable(protocol["norm"])) if protocol.get("norm") else ""
