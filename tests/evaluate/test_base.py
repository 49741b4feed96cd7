"""Batches, interruptions, and what is kept of unfinished measurements."""

import os
import signal

import numpy as np
import pytest

from acl_tf.data.image_set import ImageSet
from acl_tf.errors import Interrupted
from acl_tf.evaluate.base import Evaluation
from acl_tf.evaluate.unfinished import PartialResult, Unfinished
from acl_tf.training.interruption import Interruption
from tests.evaluate.scenes import LEVELS, greys, kept

PROTOCOL = {"attack": "some", "seed": 0}


class Knowing:
    """Is right about the images in `right`, found by their index, and remembers which batches came."""

    def __init__(self, right=(0, 2, 3, 7)) -> None:
        self.right = right
        self.batches: list[list[int]] = []
        self.levels: list[int] = []

    def __call__(self, indices, images, labels):
        self.batches.append(indices.tolist())
        assert images.dtype == np.float32 and images.shape == (len(indices), 4, 4, 3)
        self.levels += [round(255 * level) for level in images[:, 0, 0, 0].tolist()]
        return np.eye(2)[np.where(np.isin(indices, self.right), labels, 1 - labels)]


def measure(predictor: Knowing, **options) -> tuple[dict, np.ndarray]:
    return Evaluation(greys(), **options).measure("accuracy", predictor, PROTOCOL)


RIGHT = np.isin(np.arange(8), [0, 2, 3, 7])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8, 256])
def test_every_image_is_evaluated_once_and_in_order(batch_size):
    predictor = Knowing()
    record, correct = measure(predictor, batch_size=batch_size)
    np.testing.assert_array_equal(correct, RIGHT)
    assert (record["value"], record["n"]) == (0.5, 8)
    rows = [row for batch in predictor.batches for row in batch]
    assert rows[:8] == list(range(8)) and set(rows[8:]) <= {7}
    assert predictor.levels == [LEVELS[row] for row in rows]
    assert len({len(batch) for batch in predictor.batches}) == 1  # so that nothing is traced twice


def test_the_protocol_of_the_evaluation_goes_into_every_record():
    evaluation = Evaluation(greys(), protocol={"epoch": 3}).about({"surrogate_sha256": "77"})
    record, _ = evaluation.measure("accuracy", Knowing(), PROTOCOL)
    assert record["protocol"] == {"attack": "some", "seed": 0, "epoch": 3, "surrogate_sha256": "77"}


def test_progress():
    said = []
    measure(Knowing(), batch_size=3, progress=lambda *what: said.append(what))
    assert said == [("some", done, 8) for done in (0, 3, 6, 8)]
    said.clear()
    protocol = {"attack": "none", "corruption": "fog", "severity": 2}
    Evaluation(greys(), progress=lambda *what: said.append(what)).measure("x", Knowing(), protocol)
    assert {title for title, *_ in said} == {"none fog 2"}


# Interrupted and resumed


def interrupt_after(done: int):
    def progress(title: str, now: int, total: int) -> None:
        if now == done:
            os.kill(os.getpid(), signal.SIGINT)

    return progress


def interrupted(unfinished: Unfinished | None, done: int = 3, number=signal.SIGINT, **options) -> str:
    with pytest.raises(Interrupted) as error, Interruption() as interruption:
        measure(
            Knowing(),
            batch_size=options.pop("batch_size", 3),
            unfinished=unfinished,
            interruption=interruption,
            progress=interrupt_after(done),
            **options,
        )
    assert error.value.exit_code == 130
    return str(error.value)


def test_an_interruption_waits_for_the_batch_and_says_how_to_go_on(tmp_path):
    assert interrupted(Unfinished(tmp_path)) == (
        "Interrupted by SIGINT after 6 of 8 images of some. Go on by the same command with --resume."
    )
    (file,) = tmp_path.iterdir()
    with np.load(file) as arrays:
        np.testing.assert_array_equal(arrays["correct"], RIGHT[:6])
        assert arrays["seconds"] > 0


def test_without_a_place_to_keep_it_an_interruption_still_stops():
    assert interrupted(None).startswith("Interrupted by SIGINT after 6 of 8 images")


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_resumed_it_evaluates_only_the_rest(tmp_path, batch_size):
    interrupted(Unfinished(tmp_path))
    predictor, said = Knowing(), []
    record, correct = measure(
        predictor,
        batch_size=batch_size,
        unfinished=Unfinished(tmp_path),
        progress=lambda title, done, total: said.append(done),
    )
    np.testing.assert_array_equal(correct, RIGHT)
    assert kept(record) == kept(measure(Knowing())[0])
    assert {row for batch in predictor.batches for row in batch} == {6, 7}
    assert said[0] == 6 and said[-1] == 8


def test_resumed_the_seconds_add_up(tmp_path):
    unfinished = Unfinished(tmp_path)
    interrupted(unfinished)
    (file,) = unfinished.files
    PartialResult({"correct": RIGHT[:6]}, file, 100.0).save()
    assert 100 <= measure(Knowing(), unfinished=Unfinished(tmp_path))[0]["seconds"] < 160


def test_a_finished_measurement_is_not_repeated(tmp_path):
    whole, correct = measure(Knowing(), unfinished=Unfinished(tmp_path))
    predictor = Knowing()
    again, same = measure(predictor, unfinished=Unfinished(tmp_path))
    assert predictor.batches == [] and kept(again) == kept(whole)
    np.testing.assert_array_equal(same, correct)


def test_without_resuming_it_begins_afresh(tmp_path):
    interrupted(Unfinished(tmp_path))
    predictor = Knowing(right=[1])
    _, correct = measure(predictor, unfinished=Unfinished(tmp_path, resume=False))
    np.testing.assert_array_equal(correct, np.arange(8) == 1)
    _, correct = measure(Knowing(), unfinished=Unfinished(tmp_path))  # and has taken the place of the other
    np.testing.assert_array_equal(correct, np.arange(8) == 1)


def other_labels(images: ImageSet) -> ImageSet:
    return ImageSet(images.images, 1 - images.labels, images.classes, images.name, images.split)


def other_images(images: ImageSet) -> ImageSet:
    return ImageSet(images.images[::-1], images.labels, images.classes, images.name, images.split)


@pytest.mark.parametrize(
    "change",
    [
        {"image_set": other_images(greys())},
        {"image_set": other_labels(greys())},
        {"image_set": greys().first(7)},
        {"model_sha256": "other"},
        {"protocol": {"seed": 1}},
        {"protocol": {"surrogate_sha256": "77"}},
        {"metric": "robust_accuracy"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_another_measurement_left_is_not_taken_up(tmp_path, change):
    interrupted(Unfinished(tmp_path))
    predictor = Knowing()
    options = {"image_set": greys(), "unfinished": Unfinished(tmp_path), **change}
    metric = options.pop("metric", "accuracy")
    Evaluation(**options).measure(metric, predictor, PROTOCOL)
    assert predictor.batches[0][0] == 0


def test_what_is_discarded_is_its_own(tmp_path):
    theirs = Unfinished(tmp_path)
    interrupted(theirs)
    mine = Unfinished(tmp_path)
    measure(Knowing(), unfinished=mine, model_sha256="other")
    assert len(list(tmp_path.iterdir())) == 2
    mine.discard()
    assert list(tmp_path.iterdir()) == theirs.files
    theirs.discard()
    theirs.discard()
    assert list(tmp_path.iterdir()) == []


# Damaged files


def damage(content: bytes) -> list[bytes]:
    flipped = [content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :] for at in range(len(content))]
    return [*flipped, *(content[:end] for end in range(len(content))), b"", b"no archive", b"PK\x03\x04" + content]


def test_no_damage_is_a_crash_or_a_wrong_result(tmp_path, caplog):
    """Every byte wrong, and every length too short."""
    file = tmp_path / "unfinished.npz"
    PartialResult({"correct": RIGHT[:6]}, file, 1.0).save()
    taken = 0
    for content in damage(file.read_bytes()):
        file.write_bytes(content)
        result = PartialResult({"correct": np.zeros(0, bool)}, file)
        result.read()
        if len(result.arrays["correct"]):  # what was hit does not matter: the time of a zip entry, say
            np.testing.assert_array_equal(result.arrays["correct"], RIGHT[:6])
            taken += 1
    assert 0 < taken < len(caplog.messages)


def arrays(**values):
    return lambda file: np.savez(file, **values)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-30]),
        arrays(correct=np.ones(6)),
        arrays(correct=np.ones(6), seconds=1.0),
        arrays(correct=np.ones((2, 3), bool), seconds=1.0),
        arrays(correct=np.ones(6, bool), seconds="long"),
        lambda file: np.save(file.open("wb"), np.ones(6, bool)),
    ],
)
def test_a_damaged_file_is_reported_and_its_measurement_begins_afresh(tmp_path, caplog, write):
    unfinished = Unfinished(tmp_path)
    interrupted(unfinished)
    (file,) = unfinished.files
    write(file)
    _, correct = measure(Knowing(), unfinished=Unfinished(tmp_path))
    np.testing.assert_array_equal(correct, RIGHT)
    (message,) = caplog.messages
    assert message.startswith(f"{file} is damaged (") and message.endswith("); what it is of starts afresh.")
    with np.load(file) as written:
        np.testing.assert_array_equal(written["correct"], RIGHT)
