"""`acl-tf report`."""

import json
import subprocess
import sys

import pytest

from acl_tf.cli import run
from tests.report.conftest import classifier  # noqa: F401
from tests.report.folders import finetuning_rows, record, write_run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "aft", finetuning_rows([0.1], [0.2]), [record(value=0.8125)])


def test_a_page(folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    page.write_text("old")
    assert run(["report", str(folder), "--output", str(page)]) == 0
    assert capsys.readouterr() == (f"{page}\n", "")
    html = page.read_text()
    assert html.startswith("<!DOCTYPE html>") and html.endswith("</html>\n") and "81.25" in html
    assert sorted(file.name for file in tmp_path.iterdir()) == ["aft", "page.html"]


def test_the_default_output(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["report", "aft"]) == 0
    assert capsys.readouterr().out == "report.html\n" and (tmp_path / "report.html").is_file()


def test_a_model(classifier, tmp_path, capsys):  # noqa: F811
    page = tmp_path / "page.html"
    assert run(["report", str(classifier), "--output", str(page), "--images", "10"]) == 0
    assert page.read_text().count("<img ") == 24
    assert "acl-tf: attacking test images of tiny\n" in capsys.readouterr().err
    assert run(["report", str(classifier), "--output", str(page), "--no-images"]) == 0
    assert page.read_text().count("Left out by --no-images.") == 2
    assert capsys.readouterr().err == ""


def test_no_folder_to_write_into(fail, folder, tmp_path):
    page = tmp_path / "none" / "page.html"
    assert fail("report", folder, "--output", page) == (
        2,
        f"acl-tf: error: There is no folder {page.parent} to write the page into; make it first. Received: {page}",
    )


def test_a_folder_as_output(fail, folder):
    assert fail("report", folder, "--output", folder) == (
        2,
        f"acl-tf: error: The page is a file, and this is a folder; name a file by --output. Received: {folder}",
    )


def test_no_run(fail, folder, tmp_path):
    assert fail("report", folder, tmp_path / "none", "--output", tmp_path / "page.html") == (
        1,
        f"acl-tf: error: No run folder, model folder or file of records. Received: '{tmp_path}/none'",
    )
    assert not (tmp_path / "page.html").exists()


def test_a_damaged_run_leaves_the_old_page(fail, folder, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("old")
    (folder / "metrics.jsonl").write_text("{\n{}\n")
    code, line = fail("report", folder, "--output", page)
    assert code == 1 and line.startswith(f"acl-tf: error: {folder}/metrics.jsonl, line 1, is damaged: ")
    assert page.read_text() == "old"


def test_too_few_images(fail, folder):
    assert fail("report", folder, "--images", "2") == (
        2,
        "acl-tf: error: Invalid value for '--images': 2 is not in the range x>=3.",
    )


PROBE = """
import json, sys
from acl_tf.cli import run
assert run(sys.argv[1:]) == 0
print(json.dumps(sorted({"tensorflow", "keras", "matplotlib.pyplot", "sklearn"} & set(sys.modules))))
"""


def test_without_images_it_needs_no_tensorflow(classifier, tmp_path):  # noqa: F811
    command = [sys.executable, "-c", PROBE, "report", classifier, "--no-images", "--output", tmp_path / "page.html"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
