from acl_tf.report.accuracy import section
from acl_tf.report.run import read_runs
from tests.report.folders import PGD, all_corruptions, record, robust, write_lines, write_run


def table(folder, records: dict[str, list[dict]]):
    """Returns headings, and the values of each run."""
    values = section(read_runs([write_run(folder / name, records=found) for name, found in records.items()])).values
    headings = [tuple(heading.values()) for heading in values["columns"]]
    return headings, {row["name"]: [[cell["value"] for cell in c] for c in row["cells"]] for row in values["rows"]}


def test_runs_side_by_side(tmp_path):
    autoattack = {"attack": "autoattack", "norm": "linf", "epsilon": 8 / 255, "per_attack": {"apgd-ce": 0.3}}
    headings, rows = table(
        tmp_path,
        {
            "a": [robust(0.3), record(value=0.8), record("robust_accuracy", 0.2, autoattack)],
            "b": [record(value=0.9), record("robust_accuracy", 0.1, {**autoattack, "per_attack": {"apgd-ce": 0.9}})],
        },
    )
    assert headings == [
        ("TA", "", "digits/test, n = 360", ""),
        ("RA", "PGD-20 l∞ 8/255, 1 restart", "digits/test, n = 360", ""),
        ("RA", "AutoAttack l∞ 8/255", "digits/test, n = 360", ""),
    ]
    assert rows == {"a": [[0.8], [0.3], [0.2]], "b": [[0.9], [], [0.1]]}


def test_a_seed_is_no_other_protocol(tmp_path):
    two = [robust(0.3), robust(0.4, {"seed": 1})]
    assert table(tmp_path, {"a": two})[1] == {"a": [[0.3, 0.4]]}


def test_numbers_of_one_column_are_comparable(tmp_path):
    others = [
        *(robust(0.3), robust(0.3, {"step_size": 0.5}), robust(0.3, {"probe": {"mode": "slf", "seed": 0}})),
        *(robust(0.3, n=10), robust(0.3, split="train")),
    ]
    headings, rows = table(tmp_path, {"a": others})
    assert rows == {"a": [[0.3]] * 5}
    assert len(set(headings)) == 5
    assert [heading[-1] for heading in headings] == [
        "step_size 2/255",
        "step_size 0.5",
        "probe.mode slf, step_size 2/255",
        "",
        "",
    ]


def test_the_best_is_marked(tmp_path):
    runs = [write_run(tmp_path / name, records=[record(value=v)]) for name, v in (("a", 0.1), ("b", 0.3), ("c", 0.2))]
    assert section(read_runs(runs)).values["best"] == [0.3]
    assert section(read_runs(runs[:1])).values["best"] == [None]


def test_of_corruptions_only_the_means(tmp_path):
    headings, rows = table(tmp_path, {"a": all_corruptions(0.9)})
    assert [heading[1] for heading in headings] == ["mean of 15 corruptions", "mean of 19 corruptions"]
    ((fifteen,), (nineteen,)) = rows["a"]
    assert abs(fifteen - 0.71) < 1e-9 and abs(nineteen - 0.69) < 1e-9


def test_of_unforeseen_attacks_only_the_means_over_strengths(tmp_path):
    protocol = {"attack": "unforeseen", "distortion": "jpeg_l1", "steps": 30, "targets": "random"}
    single = [record("robust_accuracy", 0.1 * s, {**protocol, "strength": s, "epsilon": 2 * s}) for s in range(1, 7)]
    means = [
        record(metric, value, {**protocol, "distortion": distortion, "strength": "mean", "strengths": "1+2+3+4+5+6"})
        for metric, distortion, value in (
            ("robust_accuracy", "jpeg_l1", 0.35),
            ("uar", "jpeg_l1", 0.515),
            ("robust_accuracy", "mean_10", 0.2),
        )
    ]
    headings, rows = table(tmp_path, {"a": [*single, *means]})
    assert headings == [
        ("RA", "unforeseen l1-JPEG, 30 steps", "digits/test, n = 360", ""),
        ("RA", "unforeseen mean of 10 distortions, 30 steps", "digits/test, n = 360", ""),
        ("UAR", "unforeseen l1-JPEG, 30 steps", "digits/test, n = 360", ""),
    ]
    assert rows == {"a": [[0.35], [0.2], [0.515]]}


def test_of_certificates_only_the_radius_zero(tmp_path):
    protocol = {"attack": "none", "sigma": 0.25, "n0": 100, "n": 1000, "alpha": 0.001, "seed": 0}
    certified = [record("certified_accuracy", 0.5 - r, {**protocol, "norm": "l2", "radius": r}) for r in (0.0, 0.25)]
    records = [record(value=0.6, protocol=protocol), record("abstention", 0.1, protocol), *certified]
    headings, rows = table(tmp_path, {"a": records})
    assert [heading[:2] for heading in headings] == [
        ("TA", "none, sigma 0.25, 1000 draws"),
        ("Certified accuracy", "none, sigma 0.25, 1000 draws, l2 radius 0"),
    ]
    assert rows == {"a": [[0.6], [0.5]]}


def test_a_file_of_several_models(tmp_path):
    records = [record(value=v, protocol={"attack": "none", "encoder": f"runs/{v}"}) for v in (0.1, 0.2)]
    write_lines(tmp_path / "f.jsonl", records)
    rows = section(read_runs([tmp_path / "f.jsonl"])).values["rows"]
    assert [(row["name"], row["cells"][0][0]["value"]) for row in rows] == [("runs/0.1", 0.1), ("runs/0.2", 0.2)]


def test_all_records_with_all_that_they_depend_on(tmp_path):
    protocol = {**PGD, "seed": 7, "loss": "cross_entropy", "eot": 1}
    (cells,) = section(
        read_runs([write_run(tmp_path / "a", records=[record("robust_accuracy", 0.5, protocol)])])
    ).values["records"]
    assert cells == {
        "name": "a",
        "metric": "RA",
        "attack": "PGD-20",
        "norm": "l∞",
        "epsilon": "8/255",
        "step_size": "2/255",
        "steps": "20",
        "restarts": "1",
        "seed": "7",
        "value": "50.00",
        "n": "360",
        "data": "digits/test",
        "rest": "loss cross_entropy, eot 1",
        "versions": "0.1.0 / 2.21.0 / 3.15.1",
        "date": "2026-11-21",
    }


def test_none_was_evaluated(tmp_path):
    made = section(read_runs([write_run(tmp_path / "a")]))
    assert made.absent == "None of these runs was evaluated yet; see acl-tf evaluate."
