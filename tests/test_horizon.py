import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from acl_tf.horizon import Horizon

lengths = st.lists(st.integers(1, 7), min_size=1, max_size=8)


@given(lengths)
def test_steps_have_epochs_and_places(lengths):
    horizon = Horizon(lengths)
    expected = [(epoch, place) for epoch, length in enumerate(lengths) for place in range(length)]
    assert (horizon.epochs, horizon.steps) == (len(lengths), sum(lengths))
    assert [horizon.place_of(step) for step in range(horizon.steps)] == expected
    assert [horizon.epoch_of(step + 1) for step in range(horizon.steps)] == [epoch + 1 for epoch, _ in expected]
    ends = np.cumsum(lengths)
    for step, (epoch, place) in enumerate(expected):
        assert horizon.begin_of(epoch) == step - place
        assert horizon.end_after(step) == ends[epoch]
    steps = tf.range(horizon.steps, dtype=tf.int64)
    assert horizon.epoch_at(steps).numpy().tolist() == [epoch for epoch, _ in expected]
    assert horizon.epoch_at(steps[0]).shape == ()


@pytest.mark.parametrize("epochs, steps", [(0, 0), (0.5, 1.5), (1, 3), (1.5, 5), (2, 7), (2.25, 7.5), (3, 9), (4, 9)])
def test_steps_of_the_first_epochs(epochs, steps):
    assert Horizon([3, 4, 2]).steps_of(epochs) == steps


def test_of_equal_epochs():
    assert Horizon.uniform(3, 5).lengths == (5, 5, 5)


@pytest.mark.parametrize("lengths", [[], [3, 0]])
def test_every_epoch_has_a_step(lengths):
    with pytest.raises(ValueError) as error:
        Horizon(lengths)
    assert str(error.value) == (f"`lengths` must hold at least one epoch of at least one step. Received: {lengths}")
