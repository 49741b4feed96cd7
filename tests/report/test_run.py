import pytest

from acl_tf.records import RecordsError
from acl_tf.report.run import read_runs
from tests.report.folders import pretraining_rows, record, write_lines, write_run


def test_a_run_without_model(tmp_path):
    (run,) = read_runs([write_run(tmp_path / "run", pretraining_rows(epochs=2), [record()], best=True)])
    assert (run.number, run.name, run.selects, run.model) == (0, "run", True, {})
    assert len(run.rows) == 4 and len(run.entries) == 1
    assert run.setting("training.seed") == 3
    assert run.setting("training.none") is None and run.setting("data.dataset.none") is None


def test_a_model_folder(classifier):
    (run,) = read_runs([classifier])
    assert run.model["kind"] == "classifier" and run.setting("attack.epsilon") == 0.1
    assert (run.rows, run.about, run.selects) == ([], {}, False)
    assert len(run.entries) == 2


def test_a_run_that_is_being_written(tmp_path):
    folder = write_run(tmp_path / "run", pretraining_rows(epochs=1))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "ep')
    assert len(read_runs([folder])[0].rows) == 2


@pytest.mark.parametrize("row", [{"step": 1}, {"step": "1", "epoch": 1}, [1]])
def test_rows_that_are_none(tmp_path, row):
    folder = write_run(tmp_path / "run")
    write_lines(folder / "metrics.jsonl", [row])
    with pytest.raises(RecordsError) as error:
        read_runs([folder])
    assert str(error.value) == (
        f"{folder}/metrics.jsonl, line 1, is not a row of metrics: it needs step and epoch. Received: {row}"
    )


@pytest.mark.parametrize("name", ["run.json", "config.yaml", "model/config.json"])
def test_damaged(tmp_path, name):
    folder = write_run(tmp_path / "run")
    (folder / "model").mkdir()
    (folder / name).write_text('{"status": ')
    with pytest.raises(RecordsError) as error:
        read_runs([folder])
    assert str(error.value).startswith(f"{folder / name} is damaged: ") and "\n" not in str(error.value)


def test_a_folder_twice(tmp_path):
    folder = write_run(tmp_path / "run")
    assert len(read_runs([folder, f"{folder}/../run"])) == 1
