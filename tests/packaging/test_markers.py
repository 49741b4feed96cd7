"""`.ci/run` runs the interop tests apart, the only ones with PyTorch: an unmarked test of PyTorch would never run."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_tests_of_pytorch_are_marked_interop():
    unmarked = []
    for file in sorted(TESTS.rglob("*.py")):
        text = file.read_text()
        if re.search(r'^\s*import torch\b|importorskip\("torch"', text, re.MULTILINE) and "mark.interop" not in text:
            unmarked.append(str(file.relative_to(TESTS)))
    assert unmarked == []
