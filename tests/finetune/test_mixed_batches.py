"""The batches of semi-supervised training."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from acl_tf.finetune.mixed_batches import MixedBatches

COUNT = 30
LABELLED = np.array([1, 4, 9, 16, 25, 28])
UNLABELLED = np.setdiff1d(np.arange(COUNT), LABELLED)
SIZES = (2, 8)


def order(epochs: int = 4, seed: int = 5, sizes: tuple[int, int] = SIZES) -> MixedBatches:
    return MixedBatches(COUNT, LABELLED, sizes, epochs, seed)


def permuted(rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    return rows[np.random.default_rng((seed, epoch)).permutation(len(rows))]


def test_an_epoch_passes_over_the_unlabelled_images():
    assert order().horizon.lengths == (3,) * 4
    assert order(sizes=(6, 7)).horizon.lengths == (3,) * 4  # what does not fill a batch is left out


def test_the_batches_are_those_of_earlier_versions():
    """Both kinds are shuffled with the same seed, each in epochs of its own; labelled images come first."""
    for step in range(12):
        labelled = permuted(LABELLED, 5, step // 3)[step % 3 * 2 :][:2]
        unlabelled = permuted(UNLABELLED, 5, step // 3)[step % 3 * 8 :][:8]
        np.testing.assert_array_equal(order().rows(step), [*labelled, *unlabelled])
    assert order().rows(4).tolist() == [28, 25, 18, 10, 12, 15, 11, 22, 13, 19]


def test_labelled_images_come_in_turn():
    """Their epochs are not those of the unlabelled ones: here one lasts one step, or longer than the others'."""
    for sizes, per_epoch in (((6, 8), 1), ((1, 8), 6)):
        mixed = order(sizes=sizes)
        for step in range(12):
            epoch, place = divmod(step, per_epoch)
            expected = permuted(LABELLED, 5, epoch)[place * sizes[0] : (place + 1) * sizes[0]]
            np.testing.assert_array_equal(mixed.rows(step)[: sizes[0]], expected)


@given(st.permutations(range(12)))
def test_any_step_can_be_the_next(steps):
    whole, mixed = [order().rows(step) for step in range(12)], order()
    for step in steps:
        np.testing.assert_array_equal(mixed.rows(step), whole[step])


def test_the_order_depends_on_the_seed():
    assert not np.array_equal(order(seed=6).rows(0), order(seed=5).rows(0))
