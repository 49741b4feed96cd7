import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acl_tf.data.batches import batch_rows, epoch_order, steps_per_epoch

sizes = st.tuples(st.integers(1, 50), st.integers(1, 50)).map(sorted)
seeds = st.integers(0, 2**31 - 1)


def numbers(count: int, batch_size: int, seed: int, first: int, last: int) -> list[list[int]]:
    return [rows.tolist() for rows in batch_rows(count, batch_size, seed, first, last)]


@given(st.integers(1, 200), seeds, st.integers(0, 1000))
def test_an_epoch_is_a_permutation(count, seed, epoch):
    order = epoch_order(count, seed, epoch)
    np.testing.assert_array_equal(np.sort(order), np.arange(count))
    np.testing.assert_array_equal(order, epoch_order(count, seed, epoch))


def test_the_order_depends_on_seed_and_epoch():
    orders = {tuple(epoch_order(100, seed, epoch)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100
    # (seed 1, epoch 2) and (seed 2, epoch 1) as well as their sums are different.
    assert not np.array_equal(epoch_order(100, 1, 2), epoch_order(100, 2, 1))


def test_the_order_is_that_of_earlier_versions():
    """A run that an earlier version began must go on in its order."""
    assert epoch_order(8, seed=0, epoch=0).tolist() == [2, 4, 3, 6, 5, 0, 1, 7]
    assert epoch_order(8, seed=3, epoch=7).tolist() == [1, 2, 7, 4, 0, 3, 5, 6]


@given(sizes, seeds, st.integers(0, 5))
def test_batches_are_the_order_cut_up(size, seed, epoch):
    batch_size, count = size
    per_epoch = steps_per_epoch(count, batch_size)
    got = numbers(count, batch_size, seed, epoch * per_epoch, (epoch + 1) * per_epoch)
    flat = list(itertools.chain.from_iterable(got))
    assert flat == epoch_order(count, seed, epoch)[: per_epoch * batch_size].tolist()
    assert {len(batch) for batch in got} == {batch_size}


@given(sizes, seeds, st.integers(0, 300), st.integers(0, 100))
def test_any_step_can_be_the_first(size, seed, first, more):
    batch_size, count = size
    whole = numbers(count, batch_size, seed, 0, first + more)
    assert numbers(count, batch_size, seed, first, first + more) == whole[first:]


@pytest.mark.parametrize("count, batch_size, steps", [(10, 3, 3), (10, 10, 1), (10, 11, 0), (9, 3, 3)])
def test_the_remainder_is_left_out(count, batch_size, steps):
    assert steps_per_epoch(count, batch_size) == steps
