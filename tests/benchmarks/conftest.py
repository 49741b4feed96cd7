"""How the tests reach the benchmarks, which belong to no package."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def importable(monkeypatch) -> None:
    """Makes their modules importable, as they are for each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def run(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs a script in an empty folder."""

    def script(name: str, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(BENCHMARKS / name), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return script


@pytest.fixture
def rows_of(run, tmp_path) -> Callable[..., list[dict[str, Any]]]:
    """Runs a benchmark and returns the rows that it wrote; each framework stands in its table."""

    def measured(name: str, *arguments: str) -> list[dict[str, Any]]:
        file = Path(tmp_path, "rows.json")
        done = run(name, *arguments, "--json", str(file))
        assert done.returncode == 0, done.stderr
        rows = json.loads(file.read_text(encoding="utf-8"))
        assert len([line for line in done.stdout.splitlines() if line.startswith("│")]) == len(rows), done.stdout
        return rows

    return measured
