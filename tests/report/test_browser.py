"""The page in a browser: it fits narrow and wide windows, nothing overlaps, and nothing is fetched.

A harness shows each page in frames of several widths and measures what is in them. The pages themselves are not
changed: their security policy stays in force.
"""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from acl_tf.report.page import build
from acl_tf.report.run import read_runs
from tests.report.folders import all_corruptions, finetuning_rows, pretraining_rows, record, robust, write_run

WIDTHS = (400, 768, 1280)
HARNESS = (Path(__file__).parent / "harness.html").read_text(encoding="utf-8")
EVIL = "<script>document.title = 1<!--\"'><img src=http:..x onerror=alert(2)>"


def finetuned(folder: Path, name: str, number: int) -> Path:
    robust_accuracies = [0.2 + 0.01 * number + 0.02 * epoch - 0.001 * epoch**2 for epoch in range(20)]
    accuracies = [0.5 + 0.02 * epoch for epoch in range(20)]
    records = [record(value=0.8), robust(0.4 + 0.01 * number), *all_corruptions(0.9 - 0.01 * number)]
    return write_run(folder / name, finetuning_rows(robust_accuracies, accuracies), records, best=number % 2 == 0)


def look(chromium: str, pages: dict[str, str], folder: Path) -> tuple[list[dict], str]:
    """Returns what was measured of each page and width, and what the browser wrote."""
    content = json.dumps({"pages": pages, "widths": WIDTHS}).replace("<", "\\u003c")
    harness = folder / "harness.html"
    harness.write_text(HARNESS.replace("CONTENT", content), encoding="utf-8")
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"]
    command += ["--window-size=1400,900", "--virtual-time-budget=60000", "--dump-dom", harness.as_uri()]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [*command, f"--user-data-dir={profile}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env={**os.environ, "HOME": profile},
        )
    found = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.DOTALL)
    if found is None:
        pytest.fail(f"no measurement:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}", pytrace=False)
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")), done.stderr


@pytest.mark.slow
def test_it_fits_every_window(chromium, classifier, tmp_path):
    twenty = [finetuned(tmp_path, f"aft_cifar10_resnet18_seed{number}", number) for number in range(18)]
    twenty += [finetuned(tmp_path, "x" * 200, 18), write_run(tmp_path / "pretrained", pretraining_rows())]
    runs = {
        "one": [twenty[0]],
        "long": [twenty[18]],
        "two": [twenty[18], twenty[1]],
        "twenty": twenty,
        "model": [classifier],
        "empty": [write_run(tmp_path / "empty")],
        "evil": [finetuned(tmp_path, EVIL.replace("/", "_"), 0)],
    }
    pages = {
        name: build(read_runs(paths), 40 * (name == "model"), None, lambda message: None)
        for name, paths in runs.items()
    }
    measured, log = look(chromium, pages, tmp_path)
    assert [(one["page"], one["width"]) for one in measured] == [(name, width) for name in pages for width in WIDTHS]
    for one in measured:
        assert one["problems"] == [], (one["page"], one["width"])
        assert one["requests"] == [] and one["scripts"] == 0, (one["page"], one["width"])
    assert [one["figures"] for one in measured if one["page"] == "twenty"] == [7] * len(WIDTHS)
    assert [one["pictures"] for one in measured if one["page"] == "model"] == [24] * len(WIDTHS)
    assert [one["tables scroll"] for one in measured if one["page"] == "twenty"] == [True, True, True]
    assert "CONSOLE" not in log, log


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoilt, problem",
    [
        ('<div style="width: 2000px">wide</div>', "the page scrolls sideways"),
        ('<section style="margin-top: -300px; height: 300px">over</section>', "overlap"),
        ('<figure><svg viewBox="0 0 9 9"><text x="8">outside</text></svg></figure>', "outside its figure"),
        ('<img src="data:image/png;base64,AAAA">', "did not load"),
    ],
)
def test_the_harness_sees(chromium, tmp_path, spoilt, problem):
    html = build(read_runs([finetuned(tmp_path, "run", 0)]), 0, None, lambda message: None)
    measured, _ = look(chromium, {"spoilt": html.replace("</main>", f"{spoilt}</main>")}, tmp_path)
    assert all(any(problem in found for found in one["problems"]) for one in measured), measured


@pytest.mark.slow
def test_the_policy_keeps_the_network_out(chromium, tmp_path):
    html = build(read_runs([finetuned(tmp_path, "run", 0)]), 0, None, lambda message: None)
    spoilt = '<script>document.title = "ran"</script><img src="http://127.0.0.1:9/x.png">'
    measured, log = look(chromium, {"spoilt": html.replace("</main>", f"{spoilt}</main>")}, tmp_path)
    assert all(one["title"] == "run · acl-tf" for one in measured)
    assert "Content Security Policy" in log
