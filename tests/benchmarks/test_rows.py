"""Tables and JSON of the benchmarks."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("importable")


def test_report(tmp_path, capsys):
    from rows import Column, column, report

    rows = [{"framework": "acl_tf", "speed_up": {"pytorch": 1.76}}, {"framework": "pytorch", "speed_up": {}}]
    columns = [
        column("framework", "framework"),
        column("× pytorch", "speed_up.pytorch", ".1f"),
        column("× other", "other.pytorch", ".1f"),
        Column("ratios", lambda row: len(row["speed_up"])),
    ]
    report("Speed", columns, rows, tmp_path / "rows.json")
    lines = [line.strip("│").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["acl_tf", "1.8", "–", "1"],
        ["pytorch", "–", "–", "0"],
    ]
    assert lines[0][0].startswith(" acl_tf")
    assert json.loads((tmp_path / "rows.json").read_text(encoding="utf-8")) == rows


def test_no_file_no_json(tmp_path, capsys, monkeypatch):
    from rows import column, report

    monkeypatch.chdir(tmp_path)
    report("Speed", [column("framework", "framework")], [{"framework": "acl_tf"}], None)
    assert "acl_tf" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
