"""Accuracy under corruptions: numbers beside an oracle, on images of the published form."""

import functools
import os
import signal

import numpy as np
import pytest

from acl_tf.data.corrupted import BENCHMARK_CORRUPTIONS, CORRUPTIONS, load_corrupted_folder
from acl_tf.data.image_set import ImageSet
from acl_tf.errors import Interrupted
from acl_tf.evaluate import corruptions
from acl_tf.evaluate.base import Evaluation
from acl_tf.evaluate.unfinished import Unfinished
from acl_tf.training.interruption import Interruption
from tests.data.published import write_corrupted
from tests.evaluate.scenes import brightness, kept

CLASSES = tuple("0123456789")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_corrupted(tmp_path_factory.mktemp("data") / "CIFAR-10-C", count=6)


@pytest.fixture(scope="module")
def model():
    return brightness(32, 10)


@pytest.fixture(scope="module")
def records(folder, model):
    load = functools.partial(load_corrupted_folder, folder, classes=CLASSES)
    evaluation = Evaluation(None, batch_size=4, model_sha256="5a")
    return list(corruptions.run(evaluation, model, load))


@pytest.fixture(scope="module")
def expected(folder):
    """From the files alone: corruption → severity → accuracy of calling an image 1 where it is bright, else 0."""
    labels = np.load(folder / "labels.npy")
    found = {}
    for corruption in CORRUPTIONS:
        right = (np.load(folder / f"{corruption}.npy").mean(axis=(1, 2, 3)) > 127.5) == labels
        found[corruption] = right.reshape(5, -1).mean(axis=1)
    return found


def value(records, corruption, severity) -> float:
    (found,) = [
        record
        for record in records
        if (record["protocol"]["corruption"], record["protocol"]["severity"]) == (corruption, severity)
    ]
    return found["value"]


def test_records_and_their_order(records):
    names = [(record["protocol"]["corruption"], record["protocol"]["severity"]) for record in records]
    expected = [(corruption, severity) for corruption in CORRUPTIONS for severity in (1, 2, 3, 4, 5, "mean")]
    assert names == [*expected, ("mean_15", "mean"), ("mean_19", "mean")]
    assert len(records) == 95 + 19 + 2
    for record in records:
        assert (record["metric"], record["n"], record["model_sha256"]) == ("corruption_accuracy", 6, "5a")
        assert (record["dataset"], record["split"]) == ("CIFAR-10-C", "test")
        assert record["protocol"].keys() == {"attack", "corruption", "severity"}


def test_every_corruption_at_every_severity(records, expected):
    for corruption in CORRUPTIONS:
        found = [value(records, corruption, severity) for severity in (1, 2, 3, 4, 5)]
        np.testing.assert_allclose(found, expected[corruption], atol=1e-12)
        np.testing.assert_allclose(value(records, corruption, "mean"), np.mean(expected[corruption]), atol=1e-12)
    assert len({value(records, corruption, "mean") for corruption in CORRUPTIONS}) > 5


def test_the_means_are_over_the_benchmark_and_over_all(records, expected):
    benchmark = np.mean([expected[corruption] for corruption in BENCHMARK_CORRUPTIONS])
    everything = np.mean(list(expected.values()))
    assert abs(benchmark - everything) > 0.01
    np.testing.assert_allclose(value(records, "mean_15", "mean"), benchmark, atol=1e-12)
    np.testing.assert_allclose(value(records, "mean_19", "mean"), everything, atol=1e-12)


def test_seconds_of_the_means_add_up(records):
    single = sum(record["seconds"] for record in records if record["protocol"]["severity"] != "mean")
    assert abs(records[-1]["seconds"] - single) < 0.1


def test_an_interruption_and_its_resumption(folder, model, records, tmp_path):
    """In the middle of the fourth corruption; the rest alone is evaluated when it goes on."""
    load = functools.partial(load_corrupted_folder, folder, classes=CLASSES)
    fourth = f"none {CORRUPTIONS[3]} 2"

    def interrupt(title: str, done: int, total: int) -> None:
        if (title, done) == (fourth, 0):
            os.kill(os.getpid(), signal.SIGTERM)

    def run(**options) -> list[dict]:
        evaluation = Evaluation(None, 0, 4, "5a", unfinished=Unfinished(tmp_path), **options)
        return list(corruptions.run(evaluation, model, load))

    with pytest.raises(Interrupted) as error, Interruption() as interruption:
        run(interruption=interruption, progress=interrupt)
    assert error.value.exit_code == 143
    begun = []

    def note(title: str, done: int, total: int) -> None:
        if done < total:
            begun.append((title, done))

    again = run(progress=note)
    assert [kept(record) for record in again] == [kept(record) for record in records]
    assert begun[:2] == [(fourth, 4), (f"none {CORRUPTIONS[3]} 3", 0)]


def test_the_predictor_is_traced_once():
    traced = []

    def model(images):
        traced.append(images.shape)
        return images[:, 0, 0, :2]

    image_set = ImageSet(np.zeros((3, 8, 8, 3), np.uint8), np.zeros(3, np.int64), ("a", "b"), "some", "test")
    list(corruptions.run(Evaluation(None), model, lambda corruption, severity: image_set))
    assert traced == [(3, 8, 8, 3)]
