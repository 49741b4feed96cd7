"""The whole page: what must hold whatever is in it."""

import json
import re

import pytest

from acl_tf.report.page import build, render
from acl_tf.report.run import read_runs
from acl_tf.report.section import Section
from tests.report.folders import all_corruptions, corrupted, finetuning_rows, record, robust, write_run

EVIL = "<script>alert(1)<!--\"'><img src=x onerror=alert(2)>"


def page(runs, images: int = 0, say=lambda message: None) -> str:
    return build(read_runs(runs), images, None, say)


@pytest.fixture
def full(tmp_path):
    """A run with everything but a model."""
    records = [record(value=0.8), robust(0.4), *all_corruptions(0.9)]
    return write_run(tmp_path / "full", finetuning_rows([0.1, 0.3, 0.2], [0.4, 0.5, 0.6]), records, best=True)


def test_it_needs_no_network_and_no_script(full):
    html = page([full])
    assert "://" not in html and "<script" not in html and "@import" not in html and "<link" not in html
    assert set(re.findall(r'\b(?:src|href)="([^"]{0,5})', html)) <= {"#runs"} | set(
        re.findall(r'\b(?:src|href)="(#[^"]{0,4})', html)
    )
    assert "default-src 'none'" in html


def test_every_identifier_is_there_once(full):
    identifiers = re.findall(r'\bid="([^"]*)"', page([full]))
    assert len(identifiers) == len(set(identifiers)) > 20


def test_it_is_the_same_again(full, tmp_path):
    other = write_run(tmp_path / "other", finetuning_rows([0.1], [0.4]), [record()])
    assert page([full, other]) == page([full, other]) != page([other, full])


def test_nothing_breaks_out(tmp_path):
    name = EVIL.replace("/", "_")
    records = [
        record(EVIL, 0.5, dataset=EVIL, split=EVIL, date=EVIL, keras=EVIL),
        record("robust_accuracy", 0.5, dict.fromkeys(("attack", "norm", "epsilon", "steps", "seed", EVIL), EVIL)),
        record("robust_accuracy", 0.5, {"attack": "pgd20", "encoder": EVIL}),
        corrupted(EVIL, 1, 0.5),
        corrupted(EVIL[:9], "mean", 0.5),
    ]
    rows = [{**row, EVIL: 1.0} for row in finetuning_rows([0.1, 0.2], [0.4, 0.5])]
    run = write_run(tmp_path / name, rows, records, best=True, status=EVIL)
    (run / "config.yaml").write_text(json.dumps({"method": {"name": EVIL}, "data": {"dataset": EVIL}}))
    html = page([run])
    assert "<script" not in html and "<img" not in html
    assert html.count("&lt;script&gt;") > 20


def test_sections_escape_what_templates_show():
    html = render([Section("gallery", EVIL, absent=EVIL)], EVIL)
    assert "<script" not in html and html.count("&lt;script&gt;") == 5


def test_the_highest_is_bold(tmp_path):
    runs = [write_run(tmp_path / name, records=[record(value=v)]) for name, v in (("a", 0.1), ("b", 0.3))]
    html = page(runs)
    assert '<span class="value best">30.00</span>' in html and '<span class="value">10.00</span>' in html


@pytest.mark.parametrize("records, rows", [([], []), ([record()], []), ([], finetuning_rows([0.1], [0.2]))])
def test_what_is_not_there_is_said(tmp_path, records, rows):
    html = page([write_run(tmp_path / "a", rows, records)])
    assert html.count('class="absent"') == 7 - bool(records) - 2 * bool(rows)


def test_a_run_without_model_has_no_images(full):
    html = page([full], images=10)
    assert html.count("None of these runs has a model.") == 2


def test_images(classifier, encoder, full):
    said = []
    html = page([classifier, encoder, full], 8, said.append)
    assert said == ["attacking test images of tiny", "attacking test images of pretrained"]
    assert html.count("<img ") == 24 and html.count("true: <b>") == 8
    assert html.count("This run has no model yet.") == 2
    assert "The other runs have encoders, which predict no classes." in html


def test_data_that_cannot_be_had(classifier, tmp_path):
    import dataclasses

    said = []
    runs = [dataclasses.replace(run, recipe={"data": {"dataset": "./<gone>"}}) for run in read_runs([classifier])]
    html = build(runs, 10, None, said.append)
    why = "No such folder of images. Received: './<gone>'"
    assert said == ["attacking test images of tiny", f"no images of tiny: {why}"]
    assert html.count("No such folder of images. Received: &#39;./&lt;gone&gt;&#39;") == 2
