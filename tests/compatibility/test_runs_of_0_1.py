"""Runs, checkpoints and model folders that acl-tf 0.1.0 wrote (commit ac8db9e) go on, load and evaluate.

`runs_of_0.1.tar.xz` holds, on 24 images of 8×8 pixels, a DS pre-training that was interrupted after 4 of 6 steps, a
finished S2S pre-training with AdamW, and a linear probe on it with two evaluation records.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml

import acl_tf
from acl_tf.cli import run
from acl_tf.training.metrics_log import read_metrics

ARCHIVE = Path(__file__).with_name("runs_of_0.1.tar.xz")


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_an_interrupted_run_goes_on(runs, capsys):
    before = read_metrics(runs / "ds_interrupted" / "metrics.jsonl")
    assert [row["step"] for row in before] == [1, 2, 3, 4]
    assert run(["pretrain", "--resume", "--output", "ds_interrupted"]) == 0
    rows = read_metrics(runs / "ds_interrupted" / "metrics.jsonl")
    assert rows[:4] == before and [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1].keys() - {"images_per_second"} == before[-1].keys() - {"images_per_second"}
    model = acl_tf.load("ds_interrupted")
    assert np.isfinite(model(np.zeros((1, 8, 8, 3), np.float32))).all()


@pytest.mark.slow
def test_a_configuration_with_keys_that_nothing_used_repeats_the_run(runs):
    settings = yaml.safe_load((runs / "s2s" / "config.yaml").read_text())
    assert "attack" in settings and "trust_coefficient" in settings["optimizer"]  # of S2S, and AdamW
    assert run(["pretrain", "--config", "s2s/config.yaml", "--output", "again"]) == 0
    again = yaml.safe_load((runs / "again" / "config.yaml").read_text())
    assert again["attack"] is None and "trust_coefficient" not in again["optimizer"]
    assert again["optimizer"]["learning_rate"] == settings["optimizer"]["learning_rate"] == 0.001


def test_an_evaluation_is_the_one_that_is_recorded(runs):
    before = records(runs / "s2s_standard" / "model")
    assert run(["evaluate", "s2s_standard", "--attack", "none", "--attack", "pgd:steps=2", "--limit", "8"]) == 0
    after = records(runs / "s2s_standard" / "model")
    assert [record["protocol"] for record in after][: len(before)] == [record["protocol"] for record in before]
    assert [list(record["protocol"]) for record in after[-2:]] == [list(record["protocol"]) for record in before[-2:]]
    assert after[-2]["value"] == before[-2]["value"]


def test_an_encoder_can_be_trained_further(runs):
    encoder = acl_tf.load_encoder("s2s")
    assert encoder.stem_padding == 1
    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    features = encoder(images, branch="standard", training=False)
    np.testing.assert_allclose(acl_tf.load("s2s")(images), features, rtol=1e-4, atol=1e-5)
