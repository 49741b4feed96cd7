"""Certified accuracy against the l2 radius, as one step curve per run and sigma.

Reference: Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, figure 6; Zhai et al.,
"MACER", ICLR 2020, section 3.2 (the average radius).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from acl_tf.certify import certificates
from acl_tf.printable import printable
from acl_tf.record_text import data, epsilon
from acl_tf.records import Record, RecordsError
from acl_tf.report.curves import is_number
from acl_tf.report.figures import MANY, draw, line
from acl_tf.report.run import Run
from acl_tf.report.section import Section
from acl_tf.report.series import style

FOLDERS = ("", "evaluation")  # sub-folders of a run that may hold certificates
STEPS = 250  # of a curve, at most
METRIC = "certified_accuracy"


class Curve(NamedTuple):
    """The certified accuracies of a model that is smoothed by one sigma.

    Attributes:
        run: Run of the model.
        name: Name of the model.
        protocol: Protocol of all its certificates.
        images: Data set, split and number of the images.
        points: Radii in ascending order, and the share of images certified up to each.
        average: Average certified radius; None if it is not known.
    """

    run: Run
    name: str
    protocol: Mapping[str, Any]
    images: str
    points: list[tuple[float, float]]
    average: float | None

    def at(self, radius: float) -> float | None:
        """Returns the certified accuracy at the next larger radius that is known, which is a lower bound."""
        return next((share for known, share in self.points if known >= radius), 0.0)


def section(runs: Sequence[Run]) -> Section:
    """Returns the section of certificates."""
    curves = [curve for run in runs for curve in curves_of(run)]
    if not curves:
        return Section(
            "certificates", "Certificates", absent="None of these runs was certified yet; see acl-tf certify."
        )
    last = max(radius for curve in curves for radius, share in curve.points if share or not radius)
    radii = [certificates.STEP * number for number in range(int(last / certificates.STEP) + 1)]
    rows = [
        {
            "name": curve.name,
            "style": style(curve.run.number),
            "protocol": _text(curve.protocol),
            "images": curve.images,
            "shares": [curve.at(radius) for radius in radii],
            "average": curve.average,
        }
        for curve in curves
    ]
    legend = [{"name": name, "style": look} for name, look in {row["name"]: row["style"] for row in rows}.items()]
    values = {"svg": _figure(curves), "rows": rows, "radii": radii, "legend": legend}
    return Section("certificates", "Certificates", values)


def curves_of(run: Run) -> list[Curve]:
    """Returns the curves of a run, sorted by sigma, from its certificates or else from its records.

    Raises:
        RecordsError: If a file of certificates is damaged.
    """
    found = list(_from_files(run))
    known = [(curve.name, _key(curve.protocol)) for curve in found]
    found += [curve for curve in _from_records(run) if (curve.name, _key(curve.protocol)) not in known]
    return sorted(found, key=lambda curve: (curve.name != run.name, curve.name, _sigma(curve)))


def _from_files(run: Run) -> Iterator[Curve]:
    names = {entry.record.get("model_sha256"): entry.name for entry in run.entries}
    paths = [path for part in FOLDERS for path in sorted((run.path / part).glob(f"{certificates.NAME}-*.jsonl"))]
    for path in paths:
        about, found = _read(path)
        if found:
            name = names.get(about.get("model_sha256"), run.name)
            size = f"{data(about)}, n = {len(found)}"
            yield Curve(run, name, about["protocol"], size, _points(found), certificates.average_radius(found))


def _read(path: Path) -> tuple[dict[str, Any], list[certificates.ImageCertificate]]:
    try:
        about, found = certificates.read_certificates(path)
        if not isinstance(about.get("protocol"), dict):
            raise ValueError("its first line has no protocol")
    except (ValueError, TypeError, LookupError) as error:
        raise RecordsError(f"{path} is damaged: {error}.") from error
    return about, found


def _points(found: Sequence[certificates.ImageCertificate]) -> list[tuple[float, float]]:
    held = sorted(certificate.radius for certificate in found if certificate.holds_at(0))
    every = -(-len(held) // STEPS) or 1
    chosen = [0.0, *held[every - 1 :: every], *held[-1:]]
    return [(radius, certificates.certified_accuracy(found, radius)) for radius in dict.fromkeys(chosen)]


def _from_records(run: Run) -> Iterator[Curve]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for entry in run.entries:
        protocol = entry.record["protocol"]
        if entry.record["metric"] == METRIC and is_number(protocol.get("radius")):
            groups.setdefault((entry.name, f"{_key(protocol)} {_images(entry.record)}"), []).append(entry.record)
    averages = {
        (entry.name, f"{_key(entry.record['protocol'])} {_images(entry.record)}"): entry.record["value"]
        for entry in run.entries
        if entry.record["metric"] == "average_certified_radius"
    }
    for (name, key), records in groups.items():
        points = sorted((float(record["protocol"]["radius"]), record["value"]) for record in records)
        first = records[0]
        yield Curve(run, name, first["protocol"], _images(first), points, averages.get((name, key)))


def _sigma(curve: Curve) -> float:
    sigma = curve.protocol.get("sigma")
    return float(sigma) if is_number(sigma) else 0.0


def _key(protocol: Mapping[str, Any]) -> str:
    """Returns a key of everything in which two smoothed models may differ."""
    return str(sorted((key, str(value)) for key, value in protocol.items() if key not in ("radius", "norm")))


def _images(record: Record) -> str:
    return printable(f"{data(record)}, n = {record.get('n', '?')}")


def _text(protocol: Mapping[str, Any]) -> dict[str, str]:
    return {key: epsilon(protocol[key]) if key in protocol else "" for key in ("sigma", "n", "alpha", "seed")}


def _figure(curves: Sequence[Curve]) -> Any:
    def paint(axes: Axes) -> None:
        named = set()
        for curve in curves:
            x, y = [0.0], [100 * curve.points[0][1]]
            for radius, share in curve.points[1:]:  # each share holds up to its radius
                x += [x[-1], radius]
                y += [100 * share, 100 * share]
            line(axes, curve.run.number, [*x, x[-1]], [*y, 0.0], len(curves) > MANY)
            label = f"σ {_text(curve.protocol)['sigma']}"
            if label not in named:  # curves of one sigma end close to each other
                axes.annotate(label, (x[-1], y[-1]), (2, 3), textcoords="offset points", fontsize=7.5)
            named.add(label)
        axes.set_xlabel("l2 radius")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)

    return draw("certificates", "Certified accuracy against the l2 radius", paint, size=(4.4, 2.9))
