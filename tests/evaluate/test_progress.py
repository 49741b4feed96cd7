"""Progress goes to stderr: lines that end where there is no terminal, a bar where there is one."""

import os
import pty
import subprocess
import sys

import pytest

from acl_tf.evaluate import progress
from acl_tf.evaluate.progress import EvaluationProgress


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines(clock, capsys):
    with EvaluationProgress() as show:
        for seconds, done in [(0, 0), (3, 8), (4, 16), (4, 24), (1, 32), (1, 40)]:
            clock[0] += seconds
            show("pgd20", done, 40)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["pgd20  0/40 images", "pgd20  24/40 images", "pgd20  40/40 images"]


def test_every_measurement_says_when_it_is_done(clock, capsys):
    with EvaluationProgress() as show:
        for title in ("none fog 1", "none fog 2", "none fog 3"):
            show(title, 0, 8)
            show(title, 8, 8)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "8/8" in line] == [f"none fog {severity}  8/8 images" for severity in (1, 2, 3)]


BAR = """
from acl_tf.evaluate.progress import EvaluationProgress
with EvaluationProgress() as show:
    for done in range(9):
        show("pgd20", done, 8)
"""


def test_a_bar_on_a_terminal():
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", BAR],
        stdout=subprocess.PIPE,
        stderr=inside,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(inside)
        shown = b""
        try:
            while part := os.read(terminal, 4096):
                shown += part
        except OSError:  # how Linux tells that the other end was closed
            pass
        assert process.stdout.read() == b""
    os.close(terminal)
    assert process.returncode == 0
    text = shown.decode()
    assert "pgd20" in text and "8/8" in text and "images" not in text
