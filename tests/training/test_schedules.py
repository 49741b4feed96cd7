import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.training.schedules import EpochWarmupCosine, WarmupCosine
from tests.conftest import shared
from tests.reference import schedules as reference


def test_matches_the_published_code(parity):
    expected = parity["schedule/cosine"]
    schedule = WarmupCosine(5.0, total_steps=1000, warmup_steps=100, floor=1e-6)
    rates = schedule(tf.range(len(expected)))
    np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=1e-6)


@hypothesis.given(
    peak=st.floats(1e-3, 10),
    total=st.integers(1, 200),
    share=st.floats(0, 0.99),
    floor=st.sampled_from([0.0, 1e-6, 1e-3]),
    start=st.sampled_from([0.0, 0.1, 2.0]),
)
def test_matches_the_oracle_to_the_end_and_beyond(peak, total, share, floor, start):
    warmup = int(share * total)
    steps = range(total + 5)
    rates = WarmupCosine(peak, total, warmup, floor, start)(tf.constant(steps))
    expected = [reference.warmup_cosine(step, peak, total, warmup, floor, start) for step in steps]
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-6 * max(peak, start))


def test_known_points():
    schedule = WarmupCosine(2.0, total_steps=30, warmup_steps=10, floor=1.0)
    points = {0: 0.0, 5: 1.0, 10: 2.0, 20: 1.5, 30: 1.0, 1_000: 1.0}
    np.testing.assert_allclose([schedule(step) for step in points], list(points.values()), rtol=1e-6)


def test_without_warmup_it_starts_at_the_peak():
    assert float(WarmupCosine(2.0, total_steps=30)(0)) == 2.0


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.float32])
def test_takes_the_steps_that_optimisers_count(dtype):
    assert float(WarmupCosine(2.0, 30, 10)(tf.constant(5, dtype))) == 1.0


def test_an_optimiser_follows_it():
    weight = keras.Variable([0.0])
    optimizer = keras.optimizers.SGD(WarmupCosine(2.0, total_steps=30, warmup_steps=10))
    rates = []
    for _ in range(3):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([tf.constant([1.0])], [weight])
    np.testing.assert_allclose(rates, [0.0, 0.2, 0.4], rtol=1e-6)


@pytest.mark.parametrize("warmup, total", [(-1, 10), (10, 10), (11, 10), (0, 0)])
def test_the_warmup_must_end_before_the_schedule(warmup, total):
    with pytest.raises(ValueError) as error:
        WarmupCosine(1.0, total, warmup)
    assert str(error.value) == (
        "`warmup_steps` must be at least 0 and less than `total_steps`. "
        f"Received: warmup_steps={warmup}, total_steps={total}"
    )


@pytest.mark.parametrize(
    "schedule",
    [
        WarmupCosine(5.0, total_steps=100, warmup_steps=7, floor=1e-3, start=0.5),
        EpochWarmupCosine(5.0, [3, 5, 9], warmup_epochs=1, floor=1e-3, start=0.5, cosine_epochs=7),
    ],
)
def test_serialisation_round_trip(schedule):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(copy) is type(schedule)
    assert copy.get_config() == schedule.get_config() == vars(schedule)
    np.testing.assert_array_equal(copy(tf.range(120)), schedule(tf.range(120)))


# By the epoch

UNEVEN = [3, 4, 9, 11, 20]  # epochs of 3, 1, 5, 2 and 9 steps


def per_epoch(schedule: EpochWarmupCosine) -> np.ndarray:
    """The rate at the first step of each epoch."""
    return schedule(tf.constant([0, *schedule.epoch_ends[:-1]])).numpy()


def test_the_rate_is_constant_within_an_epoch_whatever_its_length():
    schedule = EpochWarmupCosine(2.0, UNEVEN, warmup_epochs=2, floor=0.0, start=1.0)
    cosine = [2.0, 1.0 + np.cos(np.pi / 3), 1.0 + np.cos(2 * np.pi / 3)]
    expected = np.repeat([1.0, 2.0, *cosine], [3, 1, 5, 2, 9])
    np.testing.assert_allclose(schedule(tf.range(20)), expected, rtol=1e-6)
    np.testing.assert_allclose([schedule(step) for step in range(20)], expected, rtol=1e-6)
    assert float(schedule(1_000)) == pytest.approx(expected[-1])  # beyond the end
    assert float(tf.function(schedule)(tf.constant(3, tf.int64))) == 2.0


PUBLISHED = {
    "rocl": EpochWarmupCosine(1.5, range(98, 98_001, 98), 10, floor=0.0, start=0.24, cosine_epochs=1000),
    "deacl": EpochWarmupCosine(0.5, range(195, 19_501, 195), 10, floor=0.0, start=0.003),
    "dynacl": EpochWarmupCosine(5.0, range(98, 98_001, 98), 10, start=0.5),
    "dynacl of 100 epochs": EpochWarmupCosine(5.0, range(98, 9_801, 98), 10, start=0.5),
}
FORMULAS = {
    "rocl": [reference.rocl(epoch) for epoch in range(1000)],
    "deacl": [reference.deacl(epoch) for epoch in range(100)],
    "dynacl": [reference.dynacl(epoch, 1000) for epoch in range(1, 1001)],
    "dynacl of 100 epochs": [reference.dynacl(epoch, 100) for epoch in range(1, 101)],
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_formulas(name):
    rates = [PUBLISHED[name].rate(epoch) for epoch in range(len(FORMULAS[name]))]
    np.testing.assert_allclose(rates, FORMULAS[name], rtol=1e-12)
    np.testing.assert_array_equal(per_epoch(PUBLISHED[name]), np.array(rates, np.float32))


@pytest.mark.parametrize(
    "name, file, key, tolerance",
    [
        ("rocl", "rocl.npz", "schedule/lr_per_epoch", 1e-5),  # of PyTorch's recursion, 2.5e-6
        ("deacl", "deacl.npz", "schedule/per_epoch", 1e-5),
        ("dynacl", "dynacl.npz", "schedule/1000/learning_rate", 1e-6),
        ("dynacl of 100 epochs", "dynacl.npz", "schedule/100/learning_rate", 1e-6),
    ],
)
def test_matches_the_published_rates(name, file, key, tolerance):
    with np.load(shared("parity", file)) as arrays:
        expected = arrays[key]
    np.testing.assert_allclose(per_epoch(PUBLISHED[name]), expected, rtol=tolerance)


def test_after_a_short_cosine_the_rate_stays_at_the_floor():
    rates = per_epoch(EpochWarmupCosine(2.0, UNEVEN, floor=0.5, cosine_epochs=2))
    np.testing.assert_allclose(rates, [2.0, 1.25, 0.5, 0.5, 0.5], rtol=1e-6)


def test_a_single_epoch_of_warmup_has_the_start():
    np.testing.assert_allclose(per_epoch(EpochWarmupCosine(2.0, [5, 9], 1, start=0.5)), [0.5, 2.0])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epoch_ends": []}, "`epoch_ends` must be positive and ascending. Received: epoch_ends=[]"),
        ({"epoch_ends": [2, 2]}, "`epoch_ends` must be positive and ascending. Received: epoch_ends=[2, 2]"),
        (
            {"epoch_ends": [2, 3], "warmup_epochs": 2},
            "`warmup_epochs` must be at least 0 and less than the 2 epochs. Received: warmup_epochs=2",
        ),
        ({"epoch_ends": [2], "cosine_epochs": 0}, "`cosine_epochs` must be at least 1. Received: cosine_epochs=0"),
    ],
)
def test_epochs_that_make_no_schedule(arguments, message):
    with pytest.raises(ValueError) as error:
        EpochWarmupCosine(1.0, **arguments)
    assert str(error.value) == message
