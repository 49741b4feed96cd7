from unittest import mock

import numpy as np
import pytest

import acl_tf
from acl_tf.data.image_set import ImageSet
from acl_tf.files import sha256
from acl_tf.finetune import pseudo_labels as module
from acl_tf.finetune.pseudo_labels import pseudo_label_records, pseudo_labels
from acl_tf.finetune.standard import Standard
from acl_tf.model_folder.write import TrainedModel, write_model_folder
from tests.finetune.tiny import build

COUNT = 11


def images(seed: int = 0) -> ImageSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (COUNT, 8, 8, 3), np.uint8)
    return ImageSet(pixels, np.arange(COUNT) % 3, ("a", "b", "c"), "shapes", "train")


def write_teacher(path, factor: float = 1.0):
    tuner = build(Standard)
    tuner.classifier.set_weights([factor * weight for weight in tuner.classifier.get_weights()])
    trained = TrainedModel(tuner.encoder, tuner.branch, {}, classifier=tuner.classifier, classes=("a", "b", "c"))
    write_model_folder(path, trained)
    return path


@pytest.fixture
def teacher(tmp_path):
    return write_teacher(tmp_path / "teacher")


def test_they_are_the_teacher_s_logits_of_the_images_as_they_are(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_SIZE", 4)  # the last batch has fewer
    soft_logits = pseudo_labels(teacher, images(), tmp_path / "stored.npz")
    expected = acl_tf.load(str(teacher))(images().images / np.float32(255))
    assert soft_logits.dtype == np.float32 and soft_logits.shape == (COUNT, 3)
    np.testing.assert_allclose(soft_logits, expected, atol=1e-5)
    with np.load(tmp_path / "stored.npz") as stored:
        np.testing.assert_array_equal(stored["soft_logits"], soft_logits)


def test_they_are_computed_once(teacher, tmp_path):
    file = tmp_path / "stored.npz"
    first = pseudo_labels(teacher, images(), file)
    content = file.read_bytes()
    with mock.patch.object(module, "load_model", side_effect=AssertionError("computed again")):
        np.testing.assert_array_equal(pseudo_labels(teacher, images(), file), first)
    assert file.read_bytes() == content


def test_those_of_another_teacher_are_not_used(teacher, tmp_path):
    file = tmp_path / "stored.npz"
    first = pseudo_labels(teacher, images(), file)
    write_teacher(teacher, factor=2.0)
    second = pseudo_labels(teacher, images(), file)
    np.testing.assert_allclose(second, 2 * first, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(pseudo_labels(teacher, images(), file), second)


def test_those_of_other_images_are_not_used(teacher, tmp_path):
    file = tmp_path / "stored.npz"
    first = pseudo_labels(teacher, images(), file)
    second = pseudo_labels(teacher, images(seed=1), file)
    np.testing.assert_allclose(second, pseudo_labels(teacher, images(seed=1), tmp_path / "other.npz"))
    assert not np.allclose(first, second)


def test_records(teacher):
    """Seven of eleven are right, two of which have a label."""
    right = np.array([1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0], bool)
    soft_logits = np.eye(3)[(np.arange(COUNT) + ~right) % 3]
    labelled = np.array([0, 3, 4])
    everything, unlabelled = pseudo_label_records(soft_logits, images(), labelled, teacher, 7)
    assert (everything["value"], everything["n"]) == (7 / 11, 11)
    assert (unlabelled["value"], unlabelled["n"]) == (5 / 8, 8)
    for record, part in ((everything, "all"), (unlabelled, "unlabelled")):
        assert record["metric"] == "pseudo_label_accuracy" and record["dataset"] == "shapes"
        assert record["protocol"] == {"attack": "none", "images": part, "labels": 3, "seed": 7}
        assert record["model_sha256"] == sha256(teacher / "model.keras")
