import json

import pytest

from acl_tf.report.overview import section
from acl_tf.report.run import read_runs
from tests.report.folders import record, write_lines, write_run


def about(folder, recipe: dict, **others) -> dict:
    run = write_run(folder / "run", **others)
    (run / "config.yaml").write_text(json.dumps(recipe))
    (row,) = section(read_runs([run])).values["runs"]
    return row


@pytest.mark.parametrize(
    "recipe, method",
    [
        ({"objective": {"variant": "ds"}}, "DS"),
        ({"method": {"name": "trades", "mode": "full"}}, "TRADES"),
        ({"method": {"name": "at", "mode": "linear"}}, "AT, linear"),
        ({"method": {"name": "standard", "mode": "linear"}}, "standard, linear"),
        ({"teacher": {"branch": "standard"}}, "semi-supervised"),
        ({"imported_from": "checkpoint.pt"}, ""),
        ({"method": None, "objective": 3}, ""),
    ],
)
def test_method(tmp_path, recipe, method):
    assert about(tmp_path, recipe)["method"] == method


@pytest.mark.parametrize(
    "ended, time",
    [
        ("2026-11-21T09:00:33+00:00", "33 s"),
        ("2026-11-21T09:02:05+00:00", "2 min 05 s"),
        ("2026-11-22T10:03:05+00:00", "25 h 03 min"),
        (None, ""),
        ("soon", ""),
    ],
)
def test_time(tmp_path, ended, time):
    assert about(tmp_path, {}, ended=ended)["time"] == time


def test_what_the_configuration_says(tmp_path):
    recipe = {"data": {"dataset": "cifar10"}, "attack": {"epsilon": 8 / 255}, "training": {"epochs": 100, "seed": 0}}
    row = about(tmp_path, {**recipe, "model": {"arch": "resnet18", "width": 0.25}})
    assert (row["data"], row["epsilon"], row["epochs"], row["seed"]) == ("cifar10", "8/255", "100", "0")
    assert (row["arch"], row["kind"], row["status"]) == ("resnet18 × 0.25", "unfinished", "finished")


def test_columns_in_which_nobody_has_anything_are_left_out(tmp_path):
    write_lines(tmp_path / "f.jsonl", [record()])
    made = section(read_runs([tmp_path / "f.jsonl"]))
    assert list(made.values["columns"]) == ["kind"]
