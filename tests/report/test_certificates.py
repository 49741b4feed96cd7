import json
import re

import pytest

from acl_tf.certify.certificates import CertificateFile, ImageCertificate
from acl_tf.records import RecordsError
from acl_tf.report.certificates import STEPS, curves_of, section
from acl_tf.report.run import read_runs
from tests.report.folders import record, write_run

PROTOCOL = {"attack": "none", "sigma": 0.25, "n0": 100, "n": 1000, "alpha": 0.001, "seed": 0}
# Radii of the right class; -1 is a wrong class, None an abstention.
RADII = [0.1, 0.6, -1, None, 0.3, 0.6]


def write_certificates(folder, radii=RADII, **protocol) -> None:
    about = {"protocol": {**PROTOCOL, **protocol}, "dataset": "digits", "split": "test", "model_sha256": "0" * 64}
    file = CertificateFile(folder, about, len(radii), resume=False)
    for image, radius in enumerate(radii):
        label = None if radius is None else 0 if radius < 0 else 3
        file.add(ImageCertificate(image, 3, label, label, abs(radius or 0), [1, 2], 0.5))


def certified(radius: float, value: float, **protocol) -> dict:
    return record("certified_accuracy", value, {**PROTOCOL, "norm": "l2", "radius": radius, **protocol}, n=6)


RECORDS = [
    *(certified(radius, value) for radius, value in ((0.0, 0.8), (0.25, 0.6), (0.5, 0.4))),
    record("average_certified_radius", 0.3, {**PROTOCOL, "norm": "l2"}, n=6),
]


@pytest.mark.parametrize("folder", ["run", "run/evaluation"])
def test_a_curve_of_certificates(tmp_path, folder):
    run = write_run(tmp_path / "run", records=[record()])
    write_certificates(tmp_path / folder)
    (curve,) = curves_of(read_runs([run])[0])
    assert curve.points == [(0.0, 4 / 6), (0.1, 4 / 6), (0.3, 3 / 6), (0.6, 2 / 6)]
    assert [curve.at(radius) for radius in (0, 0.1, 0.11, 0.3, 0.6, 0.61)] == [4 / 6, 4 / 6, 3 / 6, 3 / 6, 2 / 6, 0]
    assert curve.average == pytest.approx((0.1 + 0.6 + 0.3 + 0.6) / 6)
    assert (curve.name, curve.images, curve.protocol["sigma"]) == ("run", "digits/test, n = 6", 0.25)


def test_without_certificates_the_records_are_drawn(tmp_path):
    run = write_run(tmp_path / "run", records=RECORDS)
    (curve,) = curves_of(read_runs([run])[0])
    assert curve.points == [(0.0, 0.8), (0.25, 0.6), (0.5, 0.4)] and curve.average == 0.3
    assert (curve.at(0.3), curve.at(0.6)) == (0.4, 0.0)  # lower bounds


def test_certificates_go_before_records_of_the_same_smoothing(tmp_path):
    records = [*RECORDS, certified(0.0, 0.7, sigma=0.5)]
    run = write_run(tmp_path / "run", records=records)
    write_certificates(run / "evaluation")
    curves = curves_of(read_runs([run])[0])
    assert [(curve.protocol["sigma"], len(curve.points)) for curve in curves] == [(0.25, 4), (0.5, 1)]


def test_a_model_of_the_last_epoch_has_its_own_name(tmp_path):
    run = write_run(tmp_path / "run", records=[record()])
    (run / "model_last").mkdir()
    (run / "model_last" / "manifest.json").write_text(json.dumps({"files": {"model.keras": {"sha256": "0" * 64}}}))
    write_certificates(run / "evaluation")
    assert [curve.name for curve in curves_of(read_runs([run])[0])] == ["run/model_last"]


def test_many_images_make_no_more_steps(tmp_path):
    run = write_run(tmp_path / "run", records=[record()])
    write_certificates(run / "evaluation", [number / 1000 for number in range(1, 1001)])
    (curve,) = curves_of(read_runs([run])[0])
    assert len(curve.points) <= STEPS + 2
    assert all(share == pytest.approx(1 - radius, abs=1.5e-3) for radius, share in curve.points)
    assert curve.points[0][0] == 0.0 and curve.points[-1] == (1.0, 0.001)


def test_section(tmp_path):
    one, two = write_run(tmp_path / "one", records=[record()]), write_run(tmp_path / "two", records=RECORDS)
    write_certificates(one / "evaluation")
    write_certificates(one / "evaluation", [1.2, 0.1], sigma=0.5)
    values = section(read_runs([one, two])).values
    assert values["radii"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    rows = {(row["name"], row["protocol"]["sigma"]): row for row in values["rows"]}
    assert rows.keys() == {("one", "0.25"), ("one", "0.5"), ("two", "0.25")}
    assert rows["one", "0.25"]["shares"] == [4 / 6, 3 / 6, 2 / 6, 0, 0]
    assert rows["one", "0.5"]["shares"] == [1, 0.5, 0.5, 0.5, 0.5]
    svg = values["svg"]
    assert 'aria-label="Certified accuracy against the l2 radius"' in svg
    assert svg.count("σ 0.25") == svg.count("σ 0.5") == 1
    assert [item["name"] for item in values["legend"]] == ["one", "two"]
    assert {"var(--series-0)", "var(--series-1)"} <= set(re.findall(r"var\(--series-\d\)", svg))


def test_nothing_certified(tmp_path):
    (run,) = read_runs([write_run(tmp_path / "run", records=[record()])])
    assert section([run]).absent == "None of these runs was certified yet; see acl-tf certify."
    write_certificates(run.path / "evaluation", [])  # just begun
    assert section([run]).absent


def test_nothing_holds(tmp_path):
    run = write_run(tmp_path / "run", records=[record()])
    write_certificates(run, [None, -1])
    values = section(read_runs([run])).values
    assert values["radii"] == [0.0] and values["rows"][0]["shares"] == [0.0]


@pytest.mark.parametrize("text", ["x\n", "[]\n", '{"about": {}}\n', '{"about": {"protocol": {}}}\n{"image": 1}\n'])
def test_damage(tmp_path, text):
    run = write_run(tmp_path / "run", records=[record()])
    (run / "certificates-1.jsonl").write_text(text)
    with pytest.raises(RecordsError, match=r"certificates-1.jsonl is damaged: .*\.$"):
        section(read_runs([run]))
