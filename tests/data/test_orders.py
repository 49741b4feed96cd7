"""Which images make the batch of a step."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from acl_tf.config import Count, Section
from acl_tf.data import ORDERS
from acl_tf.data.orders import Coreset, Order, Probe, Shuffled, shuffled

sizes = st.tuples(st.integers(1, 50), st.integers(1, 50)).map(sorted)
seeds = st.integers(0, 2**31 - 1)


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return shuffled(np.arange(count), seed, epoch)


def numbers(order: Order, first: int, last: int) -> list[list[int]]:
    return [order.rows(step).tolist() for step in range(first, last)]


# Every image once an epoch


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
    assert Shuffled(8, 4, 8, 3).rows(14).tolist() == [1, 2, 7, 4]


def test_the_default_is_shuffled():
    assert ORDERS["shuffled"] is Shuffled


@given(sizes, seeds, st.integers(0, 5))
def test_batches_are_the_order_cut_up(size, seed, epoch):
    batch_size, count = size
    order = Shuffled(count, batch_size, 6, seed)
    (per_epoch,) = set(order.horizon.lengths)
    got = numbers(order, epoch * per_epoch, (epoch + 1) * per_epoch)
    flat = list(itertools.chain.from_iterable(got))
    assert flat == epoch_order(count, seed, epoch)[: per_epoch * batch_size].tolist()
    assert {len(batch) for batch in got} == {batch_size}


@given(sizes, seeds, st.data())
def test_any_step_can_be_the_first(size, seed, data):
    batch_size, count = size
    order = Shuffled(count, batch_size, 5, seed)
    first = data.draw(st.integers(0, order.horizon.steps))
    whole = numbers(order, 0, order.horizon.steps)
    assert numbers(Shuffled(count, batch_size, 5, seed), first, order.horizon.steps) == whole[first:]


@pytest.mark.parametrize("count, batch_size, steps", [(10, 3, 3), (10, 10, 1), (9, 3, 3)])
def test_the_remainder_is_left_out(count, batch_size, steps):
    assert Shuffled(count, batch_size, 2, 0).horizon.lengths == (steps, steps)


def test_too_few_images_for_a_batch():
    with pytest.raises(ValueError) as error:
        Shuffled(10, 11, 2, 0)
    assert str(error.value) == "`lengths` must hold at least one epoch of at least one step. Received: [0, 0]"


# A part of the images, chosen anew before some epochs

COUNT, BATCH, EPOCHS, SEED = 20, 4, 4, 3


class Window(Coreset):
    """Eight images from the first epoch on, twelve from the third; the model says where they begin."""

    class Settings(Section):
        stride: Count = 1

    def sizes(self) -> tuple[int, ...]:
        return 8, 8, 12, 12

    def choose(self, epoch: int, probe: Probe) -> np.ndarray | None:
        if epoch % 2:
            return None
        return (probe.model + self.settings.stride * np.arange(self.sizes()[epoch])) % self.images


def window(cls: type[Coreset] = Window, **settings: int) -> Coreset:
    return cls(COUNT, BATCH, EPOCHS, SEED, **settings)


def probe(begin: int, from_chief=lambda compute: compute()) -> Probe:
    return Probe(begin, None, from_chief)


def test_epochs_of_different_lengths():
    order = window()
    assert order.horizon.lengths == (2, 2, 3, 3)
    for epoch, (begin, size) in enumerate([(5, 8), (None, 8), (2, 12), (None, 12)]):
        order.prepare(epoch, probe(begin))
        if begin is not None:
            expected = (begin + np.arange(size)) % COUNT
        seen = numbers(order, order.horizon.begin_of(epoch), order.horizon.begin_of(epoch) + size // BATCH)
        assert sorted(itertools.chain.from_iterable(seen)) == sorted(expected)
        assert seen[0] == shuffled(np.sort(expected), SEED, epoch)[:BATCH].tolist()


def test_a_new_choice_is_not_hidden_by_the_order_of_the_old_one():
    order = window()
    order.prepare(0, probe(0))
    first = order.rows(0)
    order.prepare(0, probe(10))
    assert min(order.rows(0)) >= 10 > max(first)


def test_settings():
    order = window(stride=2)
    order.prepare(0, probe(0))
    assert order.candidates().tolist() == list(range(0, 16, 2))


def test_a_checkpoint_keeps_the_choice(tmp_path):
    """A run that goes on within an epoch does not ask anybody."""
    before, after = window(), window()
    before.prepare(2, probe(5))
    tf.train.Checkpoint(order=before.variables).write(str(tmp_path / "state"))
    tf.train.Checkpoint(order=after.variables).read(str(tmp_path / "state")).assert_consumed()
    assert numbers(after, 5, 10) == numbers(before, 5, 10)
    assert not np.array_equal(window().rows(5), before.rows(5))


def test_others_take_what_the_chief_chose():
    """They are not asked: their model may differ in the last bits."""
    chief, other = window(), window()
    sent = []

    def keep(compute):
        sent.append(compute())
        return sent[-1]

    chief.prepare(0, probe(5, keep))
    other.prepare(0, probe(9, lambda compute: sent[-1]))
    assert numbers(other, 0, 2) == numbers(chief, 0, 2)


@pytest.mark.parametrize("rows, count", [([0] * 8, 1), (range(7), 7), (range(9), 9)])
def test_a_choice_of_another_size(rows, count):
    class Wrong(Window):
        def choose(self, epoch: int, probe: Probe) -> np.ndarray:
            return np.array(rows)

    with pytest.raises(ValueError) as error:
        window(Wrong).prepare(1, probe(0))
    assert str(error.value) == (
        f"`choose` must return 8 different rows for epoch 1, as `sizes` says. Received: {count}"
    )


def test_no_choice_where_the_size_changes():
    class Wrong(Window):
        def choose(self, epoch: int, probe: Probe) -> np.ndarray | None:
            return None if epoch else np.arange(8)

    order = window(Wrong)
    order.prepare(0, probe(0))
    with pytest.raises(ValueError, match=r"must return 12 different rows for epoch 2, .* Received: 8"):
        order.prepare(2, probe(0))
