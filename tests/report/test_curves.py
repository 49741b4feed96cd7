import pytest

from acl_tf.report.curves import POINTS, points, section
from acl_tf.report.run import read_runs
from tests.report.folders import finetuning_rows, pretraining_rows, write_run


def test_metrics_losses_first(tmp_path):
    rows = [{"step": 1, "epoch": 1, "learning_rate": 0.1, "attack_loss_before": 1.0, "loss_standard": 2.0, "loss": 3.0}]
    runs = read_runs([write_run(tmp_path / "a", rows), write_run(tmp_path / "b", finetuning_rows([0.1], [0.2]))])
    titles = [figure["title"] for figure in section(runs).values["figures"]]
    assert titles == ["loss", "loss standard", "attack loss before", "learning rate"]


def test_points_over_epochs(tmp_path):
    (run,) = read_runs([write_run(tmp_path / "a", pretraining_rows(epochs=2))])
    expected = [(0.5, 1.0), (1.0, 0.5), (1.5, pytest.approx(1 / 3)), (2.0, 0.25)]
    assert points(run, "gradient_norm", by_epoch=True) == expected
    assert [x for x, _ in points(run, "gradient_norm", by_epoch=False)] == [5.0, 10.0, 15.0, 20.0]


def test_an_unfinished_last_epoch(tmp_path):
    (run,) = read_runs([write_run(tmp_path / "a", pretraining_rows(epochs=3)[:5])])
    assert [x for x, _ in points(run, "loss", by_epoch=True)] == [0.5, 1.0, 1.5, 2.0, 2.5]


def test_what_is_no_number_is_left_out(tmp_path):
    rows = [{"step": step, "epoch": 1, "loss": loss} for step, loss in enumerate([1.0, None, "x", True, 2.0], 1)]
    (run,) = read_runs([write_run(tmp_path / "a", rows)])
    assert points(run, "loss", by_epoch=False) == [(1.0, 1.0), (5.0, 2.0)]


def test_long_runs_are_averaged(tmp_path):
    rows = [{"step": step, "epoch": 1, "loss": float(step)} for step in range(1, 4 * POINTS + 1)]
    (run,) = read_runs([write_run(tmp_path / "a", rows)])
    found = points(run, "loss", by_epoch=False)
    assert len(found) == POINTS and found[0] == (2.5, 2.5) and found[-1] == (4 * POINTS - 1.5, 4 * POINTS - 1.5)
    assert section([run]).values["points"] == POINTS


def test_one_axis_for_all(tmp_path):
    begun, later = pretraining_rows(epochs=1), pretraining_rows(epochs=3)
    runs = read_runs([write_run(tmp_path / "a", begun), write_run(tmp_path / "b", later)])
    assert ">step<" in section(runs).values["figures"][0]["svg"]
    assert ">epoch<" in section(runs[1:]).values["figures"][0]["svg"]


def test_no_metrics(tmp_path):
    assert section(read_runs([write_run(tmp_path / "a")])).absent == "None of these folders has metrics of a training."
