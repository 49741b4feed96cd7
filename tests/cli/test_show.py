"""`acl-tf show`."""

import csv
import io
import json
import subprocess
import sys

import pytest

from acl_tf.cli import run
from tests.report.folders import PGD, record, robust, write_lines, write_run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "aft", records=[record(value=0.8125), robust(0.451, model_sha256=None)])


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│|").replace("│", "|").split("|")]


def test_table(folder, capsys):
    assert run(["show", str(folder)]) == 0
    out, err = capsys.readouterr()
    rows = [cells(line) for line in out.splitlines() if line.startswith("│")]
    assert rows == [
        ["aft", "accuracy", "none", "81.25", "360", "digits/test", ""],
        ["aft", "robust_accuracy", "PGD-20 l∞ 8/255, 1 restart", "45.10", "360", "digits/test", "0"],
    ]
    assert err == ""


@pytest.mark.parametrize("width", [60, 80, 200])
def test_long_names_do_not_break_the_table(tmp_path, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    run_folder = write_run(tmp_path / ("x" * 200), records=[record(dataset="y" * 80), robust(0.451)])
    assert run(["show", str(run_folder)]) == 0
    out = capsys.readouterr().out
    assert {len(line) for line in out.splitlines()} == {width}
    names = [cells(line)[0] for line in out.splitlines() if line.startswith("│")]
    assert "".join(names) == 2 * ("x" * 200)
    assert "45.10" in out


def test_what_stands_in_a_name_is_shown_as_it_is(tmp_path, capsys):
    run_folder = write_run(tmp_path / "[red]a|b\x1b[31m`", records=[record()])
    assert run(["show", str(run_folder)]) == 0
    assert "[red]a|b\\x1b[31m`" in capsys.readouterr().out
    assert run(["show", str(run_folder), "--markdown"]) == 0
    assert "| \\[red\\]a\\|b\\\\x1b\\[31m\\` |" in capsys.readouterr().out


def test_markdown(folder, capsys):
    assert run(["show", str(folder), "--markdown"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| model | metric | attack | value % | n | data | seed |",
        "|---|---|---|---:|---:|---|---:|",
        "| aft | accuracy | none | 81.25 | 360 | digits/test |  |",
        "| aft | robust\\_accuracy | PGD-20 l∞ 8/255, 1 restart | 45.10 | 360 | digits/test | 0 |",
    ]


def test_csv(folder, tmp_path, capsys):
    odd = {"metric": "accuracy", "value": 0.1, "dataset": 'a,"b"\nc', "protocol": {"probe": {"mode": "slf"}, "l": [1]}}
    write_lines(tmp_path / "odd.jsonl", [odd])
    assert run(["show", str(folder), str(tmp_path / "odd.jsonl"), "--csv"]) == 0
    clean, attacked, other = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (clean["model"], clean["metric"], clean["value"], clean["n"]) == ("aft", "accuracy", "0.8125", "360")
    assert (clean["tensorflow"], clean["date"]) == ("2.21.0", "2026-11-21T09:00:00+00:00")
    assert attacked["protocol.attack"] == "pgd20" and float(attacked["protocol.epsilon"]) == PGD["epsilon"]
    assert attacked["model_sha256"] == "" and clean["protocol.epsilon"] == ""
    assert other["dataset"] == 'a,"b"\nc'
    assert (other["protocol.probe.mode"], other["protocol.l"]) == ("slf", "[1]")


def test_one_format(fail, folder):
    assert fail("show", folder, "--csv", "--markdown") == (
        2,
        "acl-tf: error: Choose one format. Received: --csv --markdown",
    )


def test_a_run_that_was_not_evaluated(tmp_path, folder, capsys):
    empty = write_run(tmp_path / "empty")
    for form in ([], ["--markdown"]):
        assert run(["show", str(empty), *form]) == 0
        note = f"acl-tf: no records in {empty} yet; acl-tf evaluate makes some\n"
        assert capsys.readouterr() == ("", note)
    assert run(["show", str(empty), str(folder)]) == 0
    out, err = capsys.readouterr()
    assert "81.25" in out and err == note


def test_no_run(fail, tmp_path):
    assert fail("show", tmp_path) == (
        1,
        f"acl-tf: error: No run folder, model folder or file of records. Received: {str(tmp_path)!r}",
    )


def test_damaged(fail, folder):
    file = folder / "records.jsonl"
    file.write_text(file.read_text() + '{"metric"\n')
    assert fail("show", folder) == (
        1,
        f"acl-tf: error: {file}, line 3, is damaged: Expecting ':' delimiter at column 10.",
    )


PROBE = """
import json, sys
from acl_tf.cli import run
assert run(sys.argv[1:]) == 0
print(json.dumps(sorted({"tensorflow", "keras", "matplotlib", "sklearn", "numpy"} & set(sys.modules))))
"""


def test_it_starts_fast(folder):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "show", str(folder)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
