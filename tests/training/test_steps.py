import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.training import steps as module
from acl_tf.training.steps import Steps, fits_on_gpu, packed, share_of, unpacked
from acl_tf.training.workers import Workers
from tests.training.tiny import pixels, state, tiny

ROWS = np.random.default_rng(0).permutation(80).reshape(20, 4)


@functools.cache
def trained(
    per_call: tuple[int, ...], resident: bool = False, jit: bool = False
) -> tuple[list[np.ndarray], list[dict]]:
    """The state after some calls, and what each call returned."""
    model = tiny()
    steps = Steps(model, pixels(20), Workers(), jit)
    if resident:
        steps.resident = steps._on_devices()
    ends = np.cumsum(per_call)
    values = [steps(ROWS[end - count : end]) for count, end in zip(per_call, ends, strict=True)]
    return state(model), values


def assert_same(mine: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_takes_the_rows_that_it_is_given():
    found, values = trained((1, 1, 1))
    model = tiny()
    for rows, value in zip(ROWS, values):
        rate = float(model.optimizer.learning_rate)
        expected = model.train_step(tf.constant(pixels(20)[rows]))
        assert value == pytest.approx({name: float(v) for name, v in expected.items()} | {"learning_rate": rate})
    for mine, theirs in zip(found, state(model), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    assert all(type(value) is float for value in values[0].values())


@pytest.mark.parametrize("per_call", [(1,) * 7, (2, 5)])
def test_data_on_the_device_give_the_same_steps(per_call):
    fed, resident = (trained(per_call, resident) for resident in (False, True))
    assert_same(resident[0], fed[0])
    assert resident[1] == fed[1]


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("per_call", [(7,), (2, 5), (5, 1, 1)])
def test_several_steps_a_call_are_single_ones(per_call, resident):
    single, several = trained((1,) * 7, resident), trained(per_call, resident)
    assert_same(several[0], single[0])
    assert several[1][-1] == single[1][-1]


def test_xla_takes_the_same_step():
    for mine, theirs in zip(trained((1, 2), jit=True)[0], trained((1, 2))[0], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


class Noting(keras.Model):
    """Notes what its batches were."""

    def __init__(self) -> None:
        super().__init__(name="noting")
        self.seen = self.add_weight(shape=(5, 4, 3), initializer="zeros", trainable=False, name="seen")
        self.step = self.add_weight(shape=(), dtype="int64", initializer="zeros", trainable=False, name="step")
        self.built = True

    def train_step(self, data):
        images, targets = data
        assert images.dtype == tf.uint8 and images.shape == (4, 1, 1, 3) and targets["labels"].dtype == tf.int64
        batch = tf.stack(
            [tf.cast(v, tf.float32) for v in (images[:, 0, 0, 0], targets["labels"], targets["weights"][0])], 1
        )
        step = tf.convert_to_tensor(self.step)
        self.seen.assign(tf.tensor_scatter_nd_update(tf.convert_to_tensor(self.seen), [[step]], [batch]))
        self.step.assign_add(1)
        return {"loss": tf.reduce_sum(batch)}


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("per_call", [1, 5])
def test_data_may_be_nested(per_call, resident):
    images = np.arange(240, dtype=np.uint8).reshape(80, 1, 1, 3)
    data = (images, {"labels": np.arange(80), "weights": [np.linspace(0, 1, 80, dtype=np.float32)]})
    model = Noting()
    model.compile(optimizer="sgd")
    steps = Steps(model, data, Workers())
    if resident:
        steps.resident = steps._on_devices()
    for first in range(0, 5, per_call):
        values = steps(ROWS[first : first + per_call])
    expected = np.stack([images[ROWS[:5], 0, 0, 0], ROWS[:5], np.linspace(0, 1, 80)[ROWS[:5]]], -1)
    np.testing.assert_allclose(model.seen, expected, rtol=1e-6)
    assert values["loss"] == pytest.approx(expected[-1].sum())


def test_it_is_traced_once_for_one_step_and_twice_at_most_for_several():
    steps = Steps(tiny(), pixels(20), Workers())
    for count in (1, 3, 1, 2, 4, 1, 5):
        steps(ROWS[:count])
    assert steps.one.experimental_get_tracing_count() == 1
    assert steps.several.experimental_get_tracing_count() <= 2


def test_every_replica_gets_its_share_in_order():
    contexts = [SimpleNamespace(num_replicas_in_sync=4, replica_id_in_sync_group=number) for number in range(4)]
    assert [np.arange(12)[share_of(12, context)].tolist() for context in contexts] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
        [9, 10, 11],
    ]


@pytest.mark.parametrize("shape", [(5, 1, 1, 3), (5, 4, 4, 2), (5, 3, 3, 3), (5,)])
def test_bytes_are_packed_in_words_and_come_back(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    words = packed(images)
    assert words.dtype == np.int64 and len(words) == 5
    rows = np.array([4, 0, 0, 2])
    np.testing.assert_array_equal(unpacked(tf.gather(words, rows), images), images[rows])


def test_what_is_no_bytes_stays():
    labels = np.arange(5)
    assert packed(labels) is labels
    np.testing.assert_array_equal(unpacked(tf.gather(labels, [3, 1]), labels), [3, 1])


@pytest.mark.parametrize("gpus, size, fits", [(0, 100, False), (1, 100, True), (2, 100, True), (1, 99, False)])
def test_what_fits_on_a_gpu(gpus, size, fits, monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["some"] * gpus)
    monkeypatch.setattr(module, "RESIDENT_BYTES", size)
    assert fits_on_gpu((np.zeros(60, np.uint8), {"labels": np.zeros(5)})) == fits
