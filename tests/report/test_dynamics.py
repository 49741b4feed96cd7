import json

from acl_tf.report.dynamics import ABSENT, Epoch, epochs, section, selected
from acl_tf.report.run import read_runs
from tests.report.folders import finetuning_rows, pretraining_rows, write_run

RA, TA = [0.1, 0.4, 0.4, 0.4, 0.3], [0.5, 0.6, 0.8, 0.8, 0.9]


def test_epochs(tmp_path):
    rows = finetuning_rows(RA, TA)
    rows += [{"step": 60, "epoch": 6, "validation_robust_accuracy": None, "validation_accuracy": 0.5}]
    (run,) = read_runs([write_run(tmp_path / "a", rows)])
    assert epochs(run) == [Epoch(number, ra, ta) for number, (ra, ta) in enumerate(zip(RA, TA, strict=True), 1)]


def test_the_selected_epoch(tmp_path):
    best, last = read_runs(
        [write_run(tmp_path / name, finetuning_rows(RA, TA), best=name == "best") for name in ("best", "last")]
    )
    assert selected(best, epochs(best)) == Epoch(3, 0.4, 0.8)
    assert selected(last, epochs(last)) is None


def test_the_model_says_which_epoch_it_is_of(tmp_path):
    folder = write_run(tmp_path / "a", finetuning_rows(RA, TA), best=True)
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps({"recipe": {"epoch": 2}}))
    (run,) = read_runs([folder])
    assert selected(run, epochs(run)) == Epoch(2, 0.4, 0.6)


def test_section(tmp_path):
    fine, pre = (
        write_run(tmp_path / "a", finetuning_rows(RA, TA), best=True),
        write_run(tmp_path / "b", pretraining_rows()),
    )
    values = section(read_runs([fine, pre])).values
    assert [figure["title"] for figure in values["figures"]] == [
        "RA on validation images, %",
        "TA on validation images, %",
    ]
    assert [(row["name"], row["selected"].number, row["last"].number) for row in values["rows"]] == [("a", 3, 5)]
    assert values["marked"]


def test_no_fine_tuning(tmp_path):
    assert section(read_runs([write_run(tmp_path / "a", pretraining_rows())])).absent == ABSENT
