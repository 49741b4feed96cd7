"""From a configuration to a run folder, on next to no images."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import yaml

import acl_tf
from acl_tf.config import build, read_settings
from acl_tf.data.npz import load_npz
from acl_tf.data.orders import Shuffled
from acl_tf.data.splits import hold_out, label_subset, take
from acl_tf.errors import CheckpointError, UsageError
from acl_tf.files import sha256
from acl_tf.finetune.config import FinetuneConfig
from acl_tf.finetune.run import finetune
from acl_tf.finetune.validation import Validation
from acl_tf.model_folder.manifest import verify
from acl_tf.records import read_file
from tests.conftest import ROOT
from tests.finetune.runs import assert_same_run, interrupted, rows_of, settings, weights, write_noise
from tests.finetune.tiny import branch_of, write_encoder

MODULE = "acl_tf.finetune.run"
# Fifteen images make three steps an epoch.
TINY = {
    "data": {"labels": 0.5},
    "method": {"name": "at"},
    "optimizer": {"learning_rate": 0.05},
    "training": {"epochs": 3, "batch_size": 5, "checkpoint_steps": 2, "log_steps": 2, "seed": 5},
}


def config(dataset: Path, **more) -> FinetuneConfig:
    return build(FinetuneConfig, settings(dataset, TINY, **more))


def best_is(epoch: int):
    """Makes an epoch the best, whatever it is like."""
    original = Validation.__call__

    def call(self: Validation, number: int) -> dict[str, float]:
        values = original(self, number)
        self.selection.scores.assign([-1.0, -1.0] if number <= epoch else [2.0, 2.0])
        self.selection.update(number, *list(values.values())[::-1])
        return values

    return mock.patch.object(Validation, "__call__", call)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_noise(tmp_path_factory.mktemp("data") / "noise.npz")


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    with best_is(2):
        assert finetune(config(dataset), folder) == folder / "model"
    return folder


def test_the_run_folder(finished, dataset):
    assert sorted(file.name for file in finished.iterdir() if file.name != ".lock") == [
        "checkpoints",
        "config.yaml",
        "metrics.jsonl",
        "model",
        "model_last",
        "records.jsonl",
        "run.json",
        "tensorboard",
    ]
    assert build(FinetuneConfig, yaml.safe_load((finished / "config.yaml").read_text())) == config(dataset)
    assert json.loads((finished / "run.json").read_text())["status"] == "finished"


def test_metrics(finished):
    rows = rows_of(finished)
    assert [(row["step"], row["epoch"]) for row in rows] == [(2, 1), (3, 1), (4, 2), (6, 2), (8, 3), (9, 3)]
    for row in rows:
        assert {"loss", "gradient_norm", "learning_rate"} < row.keys()
        validated = {"validation_accuracy", "validation_robust_accuracy"} & row.keys()
        assert len(validated) == (2 if row["step"] % 3 == 0 else 0)
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.05] * 4 + [0.005] * 2)  # two of three epochs


def test_the_best_epoch_and_the_last_one(finished, dataset, tmp_path):
    """A run of as many epochs as the best is ends in its weights."""
    best, last = [acl_tf.load(str(finished / name)) for name in ("model", "model_last")]
    assert (best.config["recipe"]["epoch"], last.config["recipe"]["epoch"]) == (2, 3)
    short = config(dataset, training={"epochs": 2}, optimizer={"decay_epochs": [2]})
    finetune(short, tmp_path / "short")
    expected, found, other = (
        weights(folder) for folder in (tmp_path / "short" / "model_last", finished / "model", finished / "model_last")
    )
    assert [name for name in expected if not np.array_equal(found[name], expected[name])] == []
    assert not np.array_equal(found["classifier/fc/kernel"], other["classifier/fc/kernel"])


def test_the_model_folder(finished, dataset):
    for name in ("model", "model_last"):
        verify(finished / name)
        about = acl_tf.load(str(finished / name)).config
        assert (about["kind"], about["branch"], about["classes"]) == ("classifier", "adversarial", ["0", "1", "2"])
        expected = {**config(dataset).model_dump(mode="json"), "encoder_sha256": None}
        assert {**expected, "epoch": about["recipe"]["epoch"]} == about["recipe"] and about["attacked"] is True


def test_records(finished, dataset):
    """They are what was measured when the weights were chosen; their protocol says how."""
    measured = {row["epoch"]: row for row in rows_of(finished) if "validation_accuracy" in row}
    _, validation = hold_out(load_npz(dataset), 6)
    for name, epoch in (("model", 2), ("model_last", 3)):
        records = read_file(finished / name / "records.jsonl")
        assert [record["metric"] for record in records] == ["accuracy", "robust_accuracy"]
        assert [record["value"] for record in records] == [
            measured[epoch]["validation_accuracy"],
            measured[epoch]["validation_robust_accuracy"],
        ]
        for record in records:
            assert record["model_sha256"] == sha256(finished / name / "model.keras")
            assert (record["n"], record["split"], record["protocol"]["epoch"]) == (6, "validation", epoch)
        assert (records[1]["protocol"]["epsilon"], records[1]["protocol"]["steps"]) == (8 / 255, 1)
        logits = acl_tf.load(str(finished / name))(validation.images / np.float32(255)).numpy()
        assert records[0]["value"] == np.mean(logits.argmax(axis=1) == validation.labels)
    assert read_file(finished / "records.jsonl") == read_file(finished / "model" / "records.jsonl")


def test_a_finished_run_can_be_resumed(finished, dataset):
    files = [file for file in finished.rglob("*") if file.is_file() and file.name not in ("run.json", ".lock")]
    files = [file for file in files if "tensorboard" not in file.parts]
    before = {file: file.read_bytes() for file in files}
    finetune(config(dataset), finished, resume=True)
    assert {file: file.read_bytes() for file in files} == before


def test_records_that_a_killed_process_did_not_copy(finished, dataset):
    (finished / "records.jsonl").unlink()
    finetune(config(dataset), finished, resume=True)
    assert read_file(finished / "records.jsonl") == read_file(finished / "model" / "records.jsonl")


def test_another_configuration_on_resume(finished, dataset):
    with pytest.raises(UsageError) as error:
        finetune(config(dataset, method={"name": "trades"}, training={"batch_size": 6}), finished, resume=True)
    assert str(error.value) == (
        f"The run in {finished} has another configuration and cannot go on with this one. Expected: method.name=at, "
        "attack.start=uniform, training.batch_size=5. Received: method.name=trades, attack.start=normal, "
        "training.batch_size=6, method.beta=6.0"
    )


def test_other_images_on_resume(finished, dataset):
    write_noise(dataset, seed=1)
    try:
        with pytest.raises(CheckpointError, match=r"step-00000009 is of another data set\. Expected: images 15, crc32"):
            finetune(config(dataset), finished, resume=True)
    finally:
        write_noise(dataset)


def test_another_encoder_on_resume(dataset, tmp_path):
    source = write_encoder(tmp_path / "encoder")
    settings = config(dataset, encoder={"source": str(source), "width": None}, training={"epochs": 1})
    with interrupted(Shuffled, 2):
        finetune(settings, tmp_path / "run")
    write_encoder(source, seed=1)
    with pytest.raises(CheckpointError, match=r"is of another encoder\. Expected: arch tiny, width 0.0625, sha256 "):
        finetune(settings, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(2, marks=pytest.mark.slow),
        pytest.param(5, marks=pytest.mark.slow),
        pytest.param(8, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_goes_on_exactly(finished, dataset, tmp_path, at):
    """Before, in and after the best epoch; and its configuration repeats the run."""
    again = build(FinetuneConfig, read_settings(str(finished / "config.yaml")))
    with best_is(2):
        with interrupted(Shuffled, at):
            finetune(again, tmp_path / "parts")
        assert json.loads((tmp_path / "parts" / "run.json").read_text())["status"] == "interrupted"
        assert not (tmp_path / "parts" / "model").exists()
        finetune(again, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "parts", finished)


def test_a_linear_probe_keeps_the_encoder_of_its_folder(dataset, tmp_path):
    """And goes on with the branch that the encoder names."""
    source = write_encoder(tmp_path / "encoder", branch="standard")
    probe = {"method": {"name": "standard", "mode": "linear"}, "training": {"epochs": 1}}
    finetune(config(dataset, encoder={"source": str(source), "width": None}, **probe), tmp_path / "run")
    before, after = weights(source), weights(tmp_path / "run" / "model_last")
    assert set(after) - set(before) == {"classifier/fc/kernel", "classifier/fc/bias"}
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    assert np.abs(after["classifier/fc/kernel"]).max() > 0
    about = acl_tf.load(str(tmp_path / "run")).config
    assert about["branch"] == "standard" and about["recipe"]["encoder_sha256"] == sha256(source / "model.keras")
    assert about["attacked"] is False


def test_full_training_keeps_the_other_branch(dataset, tmp_path):
    source = write_encoder(tmp_path / "encoder", branch="standard")
    full = {"method": {"name": "trades"}, "training": {"epochs": 1}}
    encoder = {"source": str(source), "width": None, "branch": "adversarial"}
    finetune(config(dataset, encoder=encoder, **full), tmp_path / "run")
    before, after = weights(source), weights(tmp_path / "run" / "model_last")
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert same == {name for name in before if branch_of(name) == "standard"}


def test_only_chosen_labels_are_trained_on(dataset, tmp_path):
    """A batch has no more images than there are labels."""
    settings = config(dataset, data={"labels": 6}, training={"epochs": 2, "batch_size": 128})
    with mock.patch(f"{MODULE}.fit") as fit, mock.patch(f"{MODULE}.write_classifiers"):
        finetune(settings, tmp_path / "run")
    _, _, (images, labels), order, about, _ = fit.call_args.args
    train, _ = hold_out(load_npz(dataset), 6)
    expected = take(train, label_subset(train, 6, 5))
    assert (type(order), order.horizon.lengths) == (Shuffled, (1, 1))
    assert order.rows(1).tolist() == np.random.default_rng((5, 1)).permutation(6).tolist()
    assert about["data set"] == expected.fingerprint()
    np.testing.assert_array_equal(images, expected.images)
    np.testing.assert_array_equal(labels, expected.labels)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16", "float64"])
@pytest.mark.parametrize("method", ["standard", "at", "trades"])
def test_precisions(dataset, tmp_path, method, precision):
    """Also of an attack that is long enough to be a loop of the graph."""
    training = {"epochs": 1, "precision": precision}
    settings = config(dataset, method={"name": method}, attack={"steps": 6}, training=training)
    finetune(settings, tmp_path / "run")
    model = acl_tf.load(str(tmp_path / "run"))
    logits = model(np.zeros((2, 8, 8, 3), np.float32)).numpy()
    assert logits.dtype == np.float32 and np.all(np.isfinite(logits)) and np.any(logits != 0)
    assert all(np.isfinite(row["loss"]) for row in rows_of(tmp_path / "run"))


# A process of its own that knows the tiny architecture.
COMMAND = """
import sys
from tests.finetune.tiny import tiny_architecture
from acl_tf.cli import run

with tiny_architecture():
    sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.slow
def test_killed_at_any_moment(dataset, tmp_path):
    def start(folder: Path) -> subprocess.Popen:
        arguments = ["finetune", "random:tiny", "--width", "0.0625", "--dataset", dataset, "--method", "trades"]
        arguments += ["--epochs", "4", "--batch-size", "5", "--labels", "0.5", "--output", folder, "--resume"]
        for pair in ("data.validation=6", "attack.steps=1", "validation.steps=1", "training.checkpoint_steps=1"):
            arguments += ["--set", pair]
        command = [sys.executable, "-c", COMMAND, *map(str, arguments), "--set", "training.log_steps=1"]
        log = folder.with_suffix(".log").open("a")
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert start(whole).wait() == 0, whole.with_suffix(".log").read_text()
    seed = int(os.environ.get("ACL_TF_TEST_SEED", time.time_ns() % 10**9))
    print(f"ACL_TF_TEST_SEED={seed}")
    chance = random.Random(seed)
    for wanted in sorted(chance.sample(range(1, 12), 2)):
        process = start(parts)
        while process.poll() is None and max((row["step"] for row in rows_of(parts)), default=0) < wanted:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        print(f"killed after step {max(row['step'] for row in rows_of(parts))}")
    assert start(parts).wait() == 0, parts.with_suffix(".log").read_text()
    assert_same_run(parts, whole)
    assert read_file(parts / "records.jsonl")[0]["value"] == read_file(whole / "records.jsonl")[0]["value"]
