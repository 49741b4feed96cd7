import pytest

from acl_tf.report.corruptions import BARS, accuracies, section
from acl_tf.report.run import read_runs
from tests.report.folders import CORRUPTIONS, all_corruptions, corrupted, record, write_run


def test_accuracies_by_severity():
    records = [corrupted("fog", severity, severity / 10) for severity in (5, 1, 2, 3, 4)]
    assert accuracies(records) == {"fog": {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.5, "mean": pytest.approx(0.3)}}


def test_no_mean_of_some_severities():
    assert accuracies([corrupted("fog", 1, 0.9), corrupted("fog", 2, 0.8)]) == {"fog": {1: 0.9, 2: 0.8}}


def test_a_recorded_mean_counts():
    records = [corrupted("fog", "mean", 0.77), *(corrupted("fog", severity, 0.5) for severity in range(1, 6))]
    assert accuracies(records)["fog"]["mean"] == 0.77


def test_of_several_records_that_of_the_most_images_counts():
    records = [corrupted("fog", 1, 0.5, n=10000), corrupted("fog", 1, 0.9, n=100), corrupted("fog", 1, 0.6, n=10000)]
    assert accuracies(records) == {"fog": {1: 0.6}}


@pytest.mark.parametrize("severity", [0, 6, "3", None, True])
def test_what_is_no_severity(severity):
    assert accuracies([corrupted("fog", severity, 0.5)]) == {}


@pytest.mark.parametrize("count", [1, BARS, BARS + 1])
def test_section(tmp_path, count):
    runs = [write_run(tmp_path / f"run{n}", records=[record(), *all_corruptions(0.9)]) for n in range(count)]
    values = section(read_runs(runs)).values
    assert [row["name"] for row in values["rows"]] == [f"run{n}" for n in range(count)]
    titles = [title for title, _ in values["rows"][0]["table"]]
    assert len(titles) == len(CORRUPTIONS) + 2
    assert titles[:1] + titles[-2:] == ["Gaussian noise", "Mean of 15", "Mean of 19"]
    assert all(f">{title}<" in values["svg"] for title in titles)
    assert values["images"] == "digits/test, n = 360"


def test_the_images_of_all_corruptions_have_one_name(tmp_path):
    records = [corrupted(name, 1, 0.5, dataset=f"cifar10_corrupted/{name}_1") for name in ("fog", "snow")]
    made = section(read_runs([write_run(tmp_path / "a", records=records)]))
    assert made.values["images"] == "cifar10_corrupted/test, n = 360"


def test_no_corruptions(tmp_path):
    made = section(read_runs([write_run(tmp_path / "a", records=[record()])]))
    assert made.absent == "None of these runs has records of corrupted images."
