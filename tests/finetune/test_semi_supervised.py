"""The three-step routine, on next to no images."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

import acl_tf
from acl_tf.config import build
from acl_tf.data.npz import load_npz
from acl_tf.data.orders import Shuffled
from acl_tf.data.splits import hold_out, label_subset
from acl_tf.errors import UsageError
from acl_tf.files import sha256
from acl_tf.finetune import pseudo_labels
from acl_tf.finetune import semi_supervised as module
from acl_tf.finetune.mixed_batches import MixedBatches
from acl_tf.finetune.pseudo_labelled import UNLABELLED
from acl_tf.finetune.semi_supervised import semi_supervised, student_data
from acl_tf.finetune.semi_supervised_config import SemiSupervisedConfig
from acl_tf.model_folder.manifest import verify
from acl_tf.records import read_file
from tests.finetune.runs import assert_same_run, interrupted, rows_of, settings, weights, write_noise
from tests.finetune.tiny import branch_of, write_encoder

# Thirty images: six with labels make two steps of the teacher, twenty-four without make three of the student.
TINY = {
    "data": {"labels": 6},
    "teacher": {"epochs": 2, "batch_size": 3, "optimizer": {"learning_rate": 0.02}},
    "distillation": {"labelled_per_batch": 2, "unlabelled_per_batch": 8},
    "optimizer": {"learning_rate": 0.02},
    "training": {"epochs": 2, "checkpoint_steps": 1, "log_steps": 1, "seed": 5},
}


def config(dataset: Path, **more) -> SemiSupervisedConfig:
    return build(SemiSupervisedConfig, settings(dataset, TINY, **more))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_noise(tmp_path_factory.mktemp("data") / "noise.npz")


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert semi_supervised(config(dataset), folder) == folder / "model"
    return folder


def labelled_and_train(dataset: Path, labels: int = 6, seed: int = 5):
    train, _ = hold_out(load_npz(dataset), 6)
    return label_subset(train, labels, seed), train


# What the student sees


def test_a_batch_shows_the_labels_that_are_known(dataset):
    """Over an epoch each unlabelled image comes once, and the labelled ones in turn."""
    labelled, train = labelled_and_train(dataset)
    train.images[:, 0, 0, 0] = np.arange(len(train))  # each says at which row it is
    soft_logits = np.arange(len(train))[:, np.newaxis] + np.zeros((1, 3), np.float32)
    data = student_data(train, labelled, soft_logits)
    seen = []
    order = MixedBatches(len(train), labelled, (2, 8), epochs=1, seed=5)
    for rows in map(order.rows, range(3)):
        images, targets = tf.nest.map_structure(lambda array, rows=rows: array[rows], data)
        assert len(rows) == len(targets.labels) == 10
        np.testing.assert_array_equal(images[:, 0, 0, 0], rows)
        np.testing.assert_array_equal(targets.soft_logits[:, 0], rows)
        known = np.isin(rows, labelled)
        assert known.tolist() == [True] * 2 + [False] * 8
        np.testing.assert_array_equal(targets.labels, np.where(known, train.labels[rows], UNLABELLED))
        seen += rows.tolist()
    assert sorted(set(seen)) == list(range(len(train)))
    assert len(seen) == len(train)


def test_labels_of_other_images_are_not_looked_at(dataset):
    labelled, train = labelled_and_train(dataset)
    soft_logits = np.zeros((len(train), 3), np.float32)
    before = student_data(train, labelled, soft_logits)[1].labels
    others = np.setdiff1d(np.arange(len(train)), labelled)
    train.labels[others] = (train.labels[others] + 1) % 3
    np.testing.assert_array_equal(student_data(train, labelled, soft_logits)[1].labels, before)


# The run


def test_the_run_folder(finished):
    assert sorted(file.name for file in finished.iterdir() if file.name != ".lock") == [
        "checkpoints",
        "config.yaml",
        "metrics.jsonl",
        "model",
        "model_last",
        "pseudo_labels.npz",
        "records.jsonl",
        "run.json",
        "teacher",
        "tensorboard",
    ]
    for name in ("model", "model_last", "teacher/model", "teacher/model_last"):
        verify(finished / name)
    for run in (finished, finished / "teacher"):
        assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert [row["step"] for row in rows_of(finished)] == list(range(1, 7))
    losses = {"loss", "cross_entropy", "distillation", "kl_divergence"}
    assert all(losses < row.keys() for row in rows_of(finished))


def test_teacher_and_student_have_a_branch_each(finished, dataset):
    teacher, student = (acl_tf.load(str(finished / name)).config for name in ("teacher", ""))
    assert (teacher["branch"], student["branch"]) == ("standard", "adversarial")
    assert teacher["recipe"]["method"]["name"] == "standard"
    assert {**student["recipe"], **config(dataset).model_dump(mode="json")} == student["recipe"]


def test_pseudo_label_accuracy_is_a_direct_count(finished, dataset):
    labelled, train = labelled_and_train(dataset)
    logits = acl_tf.load(str(finished / "teacher" / "model_last"))(train.images / np.float32(255)).numpy()
    with np.load(finished / "pseudo_labels.npz") as stored:
        np.testing.assert_allclose(stored["soft_logits"], logits, atol=1e-4)
    right = logits.argmax(axis=1) == train.labels
    records = {
        record["protocol"]["images"]: record
        for record in read_file(finished / "records.jsonl")
        if record["metric"] == "pseudo_label_accuracy"
    }
    assert records.keys() == {"all", "unlabelled"}
    assert (records["all"]["value"], records["all"]["n"]) == (right.mean(), 30)
    assert (records["unlabelled"]["value"], records["unlabelled"]["n"]) == (np.delete(right, labelled).mean(), 24)
    for record in records.values():
        assert record["model_sha256"] == sha256(finished / "teacher" / "model_last" / "model.keras")
        assert record["protocol"]["labels"] == 6
    others = [record for record in read_file(finished / "records.jsonl") if record not in records.values()]
    assert others == read_file(finished / "model" / "records.jsonl")


@pytest.mark.slow
def test_both_start_from_the_encoder_and_move_their_own_branch(dataset, tmp_path):
    source = write_encoder(tmp_path / "encoder")
    semi_supervised(config(dataset, encoder={"source": str(source), "width": None}), tmp_path / "run")
    before = weights(source)
    for name, branch in (("teacher", "adversarial"), ("", "standard")):
        after = weights(tmp_path / "run" / name / "model_last")
        same = {path for path in before if np.array_equal(before[path], after[path])}
        assert same == {path for path in before if branch_of(path) == branch}, name


@pytest.mark.slow
def test_the_labels_of_unlabelled_images_play_no_part(finished, dataset, tmp_path):
    """Were the pseudo-labels the truth, their accuracy would be another, but nothing that is trained."""
    labelled, train = labelled_and_train(dataset)
    with np.load(finished / "pseudo_labels.npz") as stored:
        truth = stored["soft_logits"].argmax(axis=1)
    truth[labelled] = train.labels[labelled]
    original = module.load_inputs

    def with_other_labels(*arguments):
        inputs = original(*arguments)
        inputs.train.labels[:] = truth
        return inputs

    with (
        mock.patch.object(module, "load_inputs", with_other_labels),
        mock.patch.object(module, "label_subset", return_value=labelled),
    ):
        semi_supervised(config(dataset), tmp_path / "run")
    assert_same_run_weights(tmp_path / "run", finished)
    accuracies = [read_file(run / "records.jsonl")[1]["value"] for run in (finished, tmp_path / "run")]
    assert accuracies[0] < accuracies[1] == 1.0


def assert_same_run_weights(run: Path, whole: Path) -> None:
    mine, theirs = (weights(path / "model_last") for path in (run, whole))
    assert [name for name in mine if not np.array_equal(mine[name], theirs[name])] == []


@pytest.mark.slow
def test_the_labels_play_a_part(finished, dataset, tmp_path):
    """Those that are known: with alpha 1 the student does without them."""
    semi_supervised(config(dataset, distillation={"alpha": 1.0}), tmp_path / "run")
    mine, theirs = (weights(run / "model_last")["classifier/fc/kernel"] for run in (tmp_path / "run", finished))
    assert not np.allclose(mine, theirs)


# Going on


@pytest.mark.slow
def test_interrupted_in_the_teacher(finished, dataset, tmp_path):
    with interrupted(Shuffled, 3):
        semi_supervised(config(dataset), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    assert not (tmp_path / "run" / "pseudo_labels.npz").exists()
    semi_supervised(config(dataset), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", finished)
    assert_same_run(tmp_path / "run" / "teacher", finished / "teacher")


@pytest.mark.slow
def test_interrupted_in_the_student(finished, dataset, tmp_path):
    """The pseudo-labels are there already."""
    with interrupted(MixedBatches, 4):
        semi_supervised(config(dataset), tmp_path / "run")
    with mock.patch.object(pseudo_labels, "load_model", side_effect=AssertionError("computed again")):
        semi_supervised(config(dataset), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", finished)
    records, expected = (read_file(run / "records.jsonl") for run in (tmp_path / "run", finished))
    assert [(r["metric"], r["value"], r["protocol"]) for r in records] == [
        (r["metric"], r["value"], r["protocol"]) for r in expected
    ]


@pytest.mark.slow
def test_a_teacher_of_another_configuration_is_not_used(dataset, tmp_path):
    """Left by a run that did not get as far as its student."""
    teacher = tmp_path / "run" / "teacher"
    with mock.patch.object(module, "train_student"):
        semi_supervised(config(dataset, teacher={"epochs": 1}), tmp_path / "run")
    for resume in (False, True):
        with pytest.raises(UsageError) as error:
            semi_supervised(config(dataset), tmp_path / "run", resume)
        assert str(error.value) == (
            f"The run in {teacher} has another configuration and cannot go on with this one. "
            "Expected: training.epochs=1, validation.every=1. Received: training.epochs=2, validation.every=2"
        )


@pytest.mark.slow
def test_a_teacher_of_the_same_configuration_is_used(finished, dataset, tmp_path):
    with mock.patch.object(module, "train_student"):
        semi_supervised(config(dataset), tmp_path / "run")
    before = sha256(tmp_path / "run" / "teacher" / "model" / "model.keras")
    semi_supervised(config(dataset), tmp_path / "run")
    assert sha256(tmp_path / "run" / "teacher" / "model" / "model.keras") == before
    assert_same_run_weights(tmp_path / "run", finished)


def test_another_configuration_on_resume(finished, dataset):
    with pytest.raises(UsageError, match=r"Expected: distillation.alpha=0.5. Received: distillation.alpha=0.2"):
        semi_supervised(config(dataset, distillation={"alpha": 0.2}), finished, resume=True)


# The baseline


@pytest.mark.slow
def test_uat(dataset, tmp_path):
    semi_supervised(config(dataset, baseline="uat++"), tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    assert all({"loss", "fixed_target", "online_target"} < row.keys() for row in rows)
    for row in rows:
        assert row["loss"] == pytest.approx(row["fixed_target"] + 5 * row["online_target"], rel=1e-4)
    assert acl_tf.load(str(tmp_path / "run")).config["recipe"]["baseline"] == "uat++"
    assert acl_tf.load(str(tmp_path / "run" / "teacher")).config["recipe"]["encoder_sha256"] is None


# Mistakes


@pytest.mark.parametrize("labels", [1.0, 30])
def test_no_image_left_without_a_label(dataset, tmp_path, labels):
    """Said before a teacher is trained; a corrected second try is not in the way of anything."""
    with pytest.raises(UsageError) as error:
        semi_supervised(config(dataset, data={"labels": labels}), tmp_path / "run")
    assert str(error.value) == f"No image is left without a label; ask for fewer --labels. Received: {labels}"
    assert not (tmp_path / "run" / "teacher").exists()
    with mock.patch.object(module, "train"), mock.patch.object(module, "train_student"):
        semi_supervised(config(dataset), tmp_path / "run")
