"""From a configuration to records, in process."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import acl_tf
from acl_tf.config import build
from acl_tf.data.corrupted import CORRUPTIONS
from acl_tf.data.image_set import ImageSet
from acl_tf.errors import DataError, Interrupted, UsageError
from acl_tf.evaluate import run as running
from acl_tf.evaluate.config import EvaluateConfig
from acl_tf.evaluate.images import load_images
from acl_tf.evaluate.run import evaluate
from acl_tf.model_folder.manifest import verify
from acl_tf.records import read_file
from tests.data.published import write_corrupted
from tests.evaluate.scenes import (
    brightness,
    classifier,
    constant,
    greys,
    kept,
    noise,
    random_weights,
    write_classifier,
    write_images,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model folder and images; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    write_classifier(folder / "run" / "model", classifier(random_weights()))
    write_images(folder / "noise.npz", noise(random_weights(), 21))
    return folder


@pytest.fixture
def place(made, tmp_path):
    return shutil.copytree(made, tmp_path / "place")


def config(place, *attacks: str, **settings) -> EvaluateConfig:
    data = {"dataset": str(place / "noise.npz"), **settings.pop("data", {})}
    values = {"model": str(place / "run" / "model"), "data": data, "batch_size": 4, **settings}
    return build(EvaluateConfig, {**values, "attacks": attacks})


WEAK = "pgd:epsilon=0.01,steps=3"
SEVERAL = ("none", "fgsm:epsilon=0.005", WEAK, "pgd:norm=l2,epsilon=0.05,steps=3")


# What is measured


def test_by_default_accuracy_and_pgd20(place):
    accuracy, robust_accuracy = evaluate(config(place), place / "out")
    assert (accuracy["metric"], accuracy["value"], accuracy["n"]) == ("accuracy", 1.0, 21)
    assert robust_accuracy["protocol"]["attack"] == "pgd20"
    assert (accuracy["dataset"], accuracy["model_sha256"]) == ("noise", robust_accuracy["model_sha256"])


def test_several_attacks_and_the_worst_case(place):
    records = evaluate(config(place, *SEVERAL), place / "out")
    assert [record["protocol"]["attack"] for record in records] == ["none", "fgsm", "pgd", "pgd", "worst_case"]
    worst = records[-1]
    assert worst["protocol"]["attacks"] == [record["protocol"] for record in records[1:4]]
    assert worst["value"] <= min(record["value"] for record in records) < 1
    assert worst["model_sha256"] == records[0]["model_sha256"]


def test_one_attack_has_no_worst_case(place):
    assert len(evaluate(config(place, "none", WEAK), place / "out")) == 2
    assert len(evaluate(config(place, WEAK, WEAK), place / "out")) == 1  # said twice


def test_the_seed_and_the_limit(place):
    record = evaluate(config(place, WEAK, seed=3, data={"limit": 5}), place / "out")[0]
    assert (record["protocol"]["seed"], record["n"]) == (3, 5)


def test_two_runs_are_the_same_but_for_date_and_seconds(place):
    attacks = ("none", "pgd:epsilon=0.1,steps=1,step_size=0.001,restarts=2", WEAK)
    one, two = (evaluate(config(place, *attacks), place / name) for name in ("one", "two"))
    assert [kept(record) for record in one] == [kept(record) for record in two]
    other = evaluate(config(place, *attacks, seed=1), place / "other")
    assert [kept(record) for record in one][1:] != [kept(record) for record in other][1:]


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_the_batch_size_does_not_matter(place, whole, batch_size):
    records = evaluate(config(place, *SEVERAL, batch_size=batch_size), place / "out")
    assert [kept(record) for record in records] == whole


def test_a_file_of_a_model(place, tmp_path):
    shutil.copy(place / "run" / "model" / "model.keras", tmp_path / "alone.keras")
    one = evaluate(config(place, "none"), place / "one")
    two = evaluate(config(place, "none", model=str(tmp_path / "alone.keras")), place / "two")
    assert [kept(record) for record in one] == [kept(record) for record in two]


# Transfer


@pytest.mark.parametrize("size, other", [(32, 40), (32, 8), (4, 4)])
def test_images_of_another_size_are_resized(tmp_path, size, other):
    """Grey stays grey, so that the answer is known."""
    folder = write_classifier(tmp_path / "model", brightness(size))
    write_images(tmp_path / "greys.npz", greys(other))
    data = {"dataset": str(tmp_path / "greys.npz")}
    settings = {"model": str(folder), "data": data, "attacks": ("none", "pgd20:epsilon=10/255")}
    records = evaluate(build(EvaluateConfig, settings), tmp_path / "out")
    assert [record["value"] for record in records] == [1.0, 6 / 8]


def test_what_the_model_gets_has_its_shape(place):
    from acl_tf.classifiers.loading import load_classifier

    large = np.random.default_rng(0).integers(0, 256, (3, 9, 9, 3), np.uint8)
    np.savez(place / "noise.npz", images=large, labels=[0, 1, 1])
    found = load_images(config(place).data, load_classifier(str(place / "run")))
    assert found.images.shape == (3, 4, 4, 3) and found.images.dtype == np.uint8


def test_images_that_are_not_square(place):
    np.savez(place / "noise.npz", images=np.zeros((2, 6, 9, 3), np.uint8), labels=[0, 1])
    with pytest.raises(DataError) as error:
        evaluate(config(place), place / "out")
    assert str(error.value) == "Images of noise must be square to be resized. Received: 9x6"


def test_classes_that_do_not_fit(place):
    np.savez(place / "noise.npz", images=np.zeros((8, 4, 4, 3), np.uint8), labels=np.arange(8))
    with pytest.raises(UsageError) as error:
        evaluate(config(place), place / "out")
    assert str(error.value) == (
        f"{place}/run/model knows 2 classes, and noise has 8; fine-tune an encoder on that data set first. "
        "Received: --dataset noise"
    )


def test_images_without_labels(place, monkeypatch):
    np.savez(place / "noise.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="noise has no labels"):
        evaluate(config(place), place / "out")
    # As STL-10 stores its unlabelled split.
    unlabelled = ImageSet(np.zeros((2, 4, 4, 3), np.uint8), np.full(2, -1), ("a", "b"), "stl10", "unlabelled")
    monkeypatch.setattr("acl_tf.data.sources.load", lambda data: unlabelled)
    with pytest.raises(DataError) as error:
        evaluate(config(place), place / "out")
    assert str(error.value) == "stl10 has images without a label in this split. Received: 'unlabelled'"
    assert not (place / "out").exists()


# Black box


def test_with_itself_as_surrogate_it_is_the_white_box(place):
    white = evaluate(config(place, *SEVERAL), place / "white")
    black = evaluate(config(place, *SEVERAL, surrogate=str(place / "run")), place / "black")
    digest = white[0]["model_sha256"]
    assert kept(black[0]) == kept(white[0])
    for one, other in zip(white[1:4], black[1:4], strict=True):
        assert {**kept(one), "protocol": {**one["protocol"], "surrogate_sha256": digest}} == kept(other)
    assert black[4]["protocol"]["attacks"] == [record["protocol"] for record in black[1:4]]


def test_an_unrelated_surrogate_fools_nobody(place):
    write_classifier(place / "surrogate", constant())
    records = evaluate(config(place, "none", "fgsm", WEAK, surrogate=str(place / "surrogate")), place / "out")
    assert [record["value"] for record in records[:2]] == [1.0, 1.0]
    assert "surrogate_sha256" not in records[0]["protocol"]
    digest = json.loads((place / "surrogate" / "manifest.json").read_text())["files"]["model.keras"]["sha256"]
    assert {record["protocol"]["surrogate_sha256"] for record in records[1:3]} == {digest}
    assert digest != records[0]["model_sha256"]


@pytest.mark.parametrize("size, classes", [(8, 2), (4, 3)])
def test_a_surrogate_of_other_images_or_classes(place, size, classes):
    write_classifier(place / "surrogate", brightness(size, classes), tuple("abc"[:classes]))
    with pytest.raises(UsageError) as error:
        evaluate(config(place, surrogate=str(place / "surrogate")), place / "out")
    assert str(error.value) == (
        "The surrogate must take the images of the model and know its classes: images of 4x4 pixels, 2 classes. "
        f"Received: '{place}/surrogate', images of {size}x{size} pixels, {classes} classes"
    )


def test_dlr_needs_three_classes(place):
    with pytest.raises(UsageError) as error:
        evaluate(config(place, "none", "pgd:loss=dlr"), place / "out")
    assert str(error.value) == ("The loss dlr needs at least 3 classes. Received: --attack pgd, 2 classes")


# Corruptions


@pytest.fixture
def corrupted(place):
    shutil.rmtree(place / "run")
    write_classifier(place / "run" / "model", brightness(32, 10), tuple("0123456789"))
    return write_corrupted(place / "CIFAR-10-C", count=3)


def test_corruptions_alone_load_no_other_images(place, corrupted):
    records = evaluate(config(place, corruptions=str(corrupted), data={"dataset": "none such"}), place / "out")
    assert len(records) == 95 + 19 + 2
    assert records[-2]["protocol"]["corruption"] == "mean_15"
    assert read_file(place / "out" / "records.jsonl") == records == acl_tf.load(str(place / "run")).records


def test_corruptions_beside_attacks(place, corrupted):
    np.savez(place / "noise.npz", images=np.zeros((10, 32, 32, 3), np.uint8), labels=np.arange(10))
    records = evaluate(config(place, "none", corruptions=str(corrupted), data={"limit": 2}), place / "out")
    assert [record["n"] for record in records] == [2] * 117
    assert records[0]["metric"] == "accuracy"


def test_corrupted_images_of_another_size(place, tmp_path):
    folder = write_corrupted(tmp_path / "CIFAR-10-C", count=2, size=32)
    with pytest.raises(DataError) as error:
        evaluate(config(place, corruptions=str(folder)), place / "out")
    assert str(error.value) == ("The model takes images of 4x4 pixels. Received: 32x32 in CIFAR-10-C, gaussian_noise")


def test_what_is_wrong_with_corrupted_images_is_said_before_attacks(place, corrupted, monkeypatch):
    monkeypatch.setattr(running, "measurements", lambda *arguments: pytest.fail("it began"))
    (corrupted / "gaussian_noise.npy").write_bytes(b"")
    with pytest.raises(DataError, match="is not a readable"):
        evaluate(config(place, "none", corruptions=str(corrupted)), place / "out")
    (corrupted / "fog.npy").unlink()
    with pytest.raises(UsageError, match=r"1 are missing: fog\.npy"):
        evaluate(config(place, "none", corruptions=str(corrupted)), place / "out")


def test_a_file_that_is_damaged_later_keeps_what_was_measured(place, corrupted):
    file = corrupted / f"{CORRUPTIONS[2]}.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"impulse_noise\.npy is not a readable"):
        evaluate(config(place, corruptions=str(corrupted)), place / "out")
    assert len(read_file(place / "out" / "records.jsonl")) == 12
    assert len(acl_tf.load(str(place / "run")).records) == 12
    file.write_bytes(whole)
    assert len(evaluate(config(place, corruptions=str(corrupted)), place / "out", resume=True)) == 116
    assert len(read_file(place / "out" / "records.jsonl")) == 116


def test_through_tfds(place, corrupted, monkeypatch):
    """All 95 names are asked for; every image set has its own, and the record that of the data set."""
    asked = []

    def load_tfds(name, split, data_dir, limit):
        asked.append((name, split, data_dir, limit))
        return ImageSet(np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, int), tuple("0123456789"), name, split)

    monkeypatch.setattr("acl_tf.data.tfds.load_tfds", load_tfds)
    data = {"data_dir": "/data", "limit": 2}
    records = evaluate(config(place, corruptions="tfds", data=data), place / "out")
    names = {name for name, *_ in asked}
    assert len(names) == 95 and "cifar10_corrupted/frosted_glass_blur_5" in names
    assert {tuple(rest) for _, *rest in asked} == {("test", "/data", 2)}
    assert {record["dataset"] for record in records} == {"cifar10_corrupted"}
    assert {record["protocol"]["corruption"] for record in records} == {*CORRUPTIONS, "mean_15", "mean_19"}


# Where the records go


def test_records_are_added_to_the_output_and_to_the_model(place):
    records = evaluate(config(place, *SEVERAL), place / "out")
    assert [file.name for file in (place / "out").iterdir()] == ["records.jsonl"]
    assert read_file(place / "out" / "records.jsonl") == records
    verify(place / "run" / "model")
    assert acl_tf.load(str(place / "run")).records == records
    assert [file.name for file in (place / "run").iterdir()] == ["model"]


def test_repeated_they_are_replaced(place):
    first = evaluate(config(place, *SEVERAL), place / "out")
    second = evaluate(config(place, WEAK, "none"), place / "out")
    found = acl_tf.load(str(place / "run")).records
    assert [kept(record) for record in found] == [kept(record) for record in first]
    assert found == read_file(place / "out" / "records.jsonl")
    assert found[0] == second[1] and found[2] == second[0]
    evaluate(config(place, WEAK, seed=1), place / "out")
    assert len(acl_tf.load(str(place / "run")).records) == 6


def test_a_surrogate_gets_no_records(place):
    write_classifier(place / "surrogate", constant())
    evaluate(config(place, WEAK, surrogate=str(place / "surrogate")), place / "out")
    assert acl_tf.load(str(place / "surrogate")).records == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_model_folder_that_cannot_be_written(place, monkeypatch, caplog, number):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("acl_tf.model_folder.write.os.link", refuse)
    monkeypatch.setattr("acl_tf.model_folder.write.shutil.copy2", refuse)
    records = evaluate(config(place, "none", WEAK), place / "out")
    assert read_file(place / "out" / "records.jsonl") == records
    (message,) = caplog.messages
    assert message.startswith("The model folder cannot be written to (")
    assert message.endswith(f"); the records are in {place}/out/records.jsonl")
    monkeypatch.undo()
    assert acl_tf.load(str(place / "run")).records == []
    assert [file.name for file in (place / "run").iterdir()] == ["model"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(place, caplog):
    (place / "run").chmod(0o500)
    records = evaluate(config(place, "none"), place / "out")
    (place / "run").chmod(0o700)
    assert read_file(place / "out" / "records.jsonl") == records
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("output", ["run/model", "run/model/evaluation"])
def test_a_model_folder_holds_nothing_else(place, output):
    with pytest.raises(UsageError) as error:
        evaluate(config(place), place / output)
    assert str(error.value) == (
        "A model folder holds nothing but the model; choose another --output. "
        f"Received: {place / output} in {place}/run/model"
    )
    verify(place / "run" / "model")


def test_from_inside_the_model_folder(place, monkeypatch):
    monkeypatch.chdir(place / "run" / "model")
    records = evaluate(config(place, "none", model="."), Path("../../out"))
    assert read_file(place / "out" / "records.jsonl") == records == acl_tf.load(str(place / "run")).records


def test_through_a_symbolic_link(place, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(place / "run" / "model")
    records = evaluate(config(place, "none", model=str(link)), place / "out")
    assert link.is_symlink()
    assert acl_tf.load(str(place / "run")).records == records == acl_tf.load(str(link)).records


# Interruptions


class Interrupting:
    """Progress that sends a signal when so many batches have been begun, and notes which."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.begun: list[tuple[str, int]] = []

    def __call__(self) -> "Interrupting":
        return self

    def __enter__(self):
        return self.note

    def __exit__(self, *error) -> None:
        pass

    def note(self, title: str, done: int, total: int) -> None:
        if done < total:
            self.begun.append((title, done))
            if len(self.begun) == self.after:
                os.kill(os.getpid(), signal.SIGINT)


def interrupted(monkeypatch, config, output, after: int, resume: bool = False) -> list[tuple[str, int]]:
    progress = Interrupting(after)
    monkeypatch.setattr(running, "EvaluationProgress", progress)
    with pytest.raises(Interrupted) as error:
        evaluate(config, output, resume)
    assert error.value.exit_code == 130
    monkeypatch.setattr(running, "EvaluationProgress", Interrupting())
    return progress.begun


def begun_by(monkeypatch, config, output, resume: bool) -> tuple[list[dict], list[tuple[str, int]]]:
    progress = Interrupting()
    monkeypatch.setattr(running, "EvaluationProgress", progress)
    return evaluate(config, output, resume), progress.begun


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """The records of an evaluation that nothing disturbed: 4 measurements of 6 batches."""
    place = shutil.copytree(made, tmp_path_factory.mktemp("whole") / "place")
    return [kept(record) for record in evaluate(config(place, *SEVERAL), place / "out")]


@pytest.mark.parametrize("after", [1, 6, 10, 24])
def test_interrupted_and_resumed_it_is_the_same(place, whole, monkeypatch, after):
    before = interrupted(monkeypatch, config(place, *SEVERAL), place / "out", after)
    records, begun = begun_by(monkeypatch, config(place, *SEVERAL), place / "out", resume=True)
    assert [kept(record) for record in records] == whole
    assert len(before) == after and not set(before[:-1]) & set(begun) and len(begun) == 24 - after
    assert [kept(record) for record in read_file(place / "out" / "records.jsonl")] == whole
    assert [kept(record) for record in acl_tf.load(str(place / "run")).records] == whole
    assert [file.name for file in (place / "out").iterdir()] == ["records.jsonl"]


def test_interrupted_again_and_again(place, whole, monkeypatch):
    for _ in range(4):
        interrupted(monkeypatch, config(place, *SEVERAL), place / "out", 5, resume=True)
    records, begun = begun_by(monkeypatch, config(place, *SEVERAL), place / "out", resume=True)
    assert [kept(record) for record in records] == whole and len(begun) == 4


def test_another_batch_size_goes_on(place, whole, monkeypatch):
    interrupted(monkeypatch, config(place, *SEVERAL), place / "out", 14)
    other = config(place, *SEVERAL, batch_size=5)
    records, begun = begun_by(monkeypatch, other, place / "out", resume=True)
    assert [kept(record) for record in records] == whole
    assert begun[0] == ("pgd", 8)


def test_what_was_measured_before_the_interruption_is_recorded(place, whole, monkeypatch):
    interrupted(monkeypatch, config(place, *SEVERAL), place / "out", 14)
    assert [kept(record) for record in read_file(place / "out" / "records.jsonl")] == whole[:2]
    assert [kept(record) for record in acl_tf.load(str(place / "run")).records] == whole[:2]


def test_without_resuming_it_begins_afresh(place, whole, monkeypatch):
    interrupted(monkeypatch, config(place, *SEVERAL), place / "out", 14)
    records, begun = begun_by(monkeypatch, config(place, *SEVERAL), place / "out", resume=False)
    assert [kept(record) for record in records] == whole and len(begun) == 24
    assert [file.name for file in (place / "out").iterdir()] == ["records.jsonl"]


def test_a_mistake_does_not_cost_what_is_unfinished(place, whole, monkeypatch):
    interrupted(monkeypatch, config(place, *SEVERAL), place / "out", 14)
    with pytest.raises(UsageError):
        evaluate(config(place, *SEVERAL, "pgd:loss=dlr"), place / "out")
    _, begun = begun_by(monkeypatch, config(place, *SEVERAL), place / "out", resume=True)
    assert len(begun) == 10


def test_other_attacks_do_not_take_up_what_is_unfinished(place, whole, monkeypatch):
    """And what they leave behind is not taken away from the first."""
    interrupted(monkeypatch, config(place, *SEVERAL), place / "out", 14)
    _, begun = begun_by(monkeypatch, config(place, "pgd:epsilon=0.011,steps=3"), place / "out", resume=True)
    assert len(begun) == 6
    _, begun = begun_by(monkeypatch, config(place, *SEVERAL), place / "out", resume=True)
    assert len(begun) == 10


def test_a_damaged_file_is_reported_and_measured_again(place, whole, monkeypatch, caplog):
    interrupted(monkeypatch, config(place, *SEVERAL), place / "out", 14)
    files = sorted((place / "out").glob("unfinished-*"))
    assert len(files) == 3
    for file in files:
        file.write_bytes(file.read_bytes()[:-40])
    records, begun = begun_by(monkeypatch, config(place, *SEVERAL), place / "out", resume=True)
    assert [kept(record) for record in records] == whole and len(begun) == 24
    assert len(caplog.messages) == 3 and all("is damaged" in message for message in caplog.messages)
