import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.training.schedules import WarmupCosine
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
)
def test_matches_the_oracle_to_the_end_and_beyond(peak, total, share, floor):
    warmup = int(share * total)
    steps = range(total + 5)
    rates = WarmupCosine(peak, total, warmup, floor)(tf.constant(steps))
    expected = [reference.warmup_cosine(step, peak, total, warmup, floor) for step in steps]
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-6 * peak)


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


def test_serialisation_round_trip():
    schedule = WarmupCosine(5.0, total_steps=100, warmup_steps=7, floor=1e-3)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert isinstance(copy, WarmupCosine)
    assert copy.get_config() == schedule.get_config()
    assert schedule.get_config() == {"peak": 5.0, "total_steps": 100, "warmup_steps": 7, "floor": 1e-3}
