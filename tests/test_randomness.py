import numpy as np
import pytest
import tensorflow as tf

from acl_tf import randomness
from acl_tf.randomness import fold_in, rows_of_global_batch, step_seed

SEED = (3, 14)


def normal(shape) -> tf.Tensor:
    return tf.random.stateless_normal(shape, SEED)


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (2, 3), (2,)])
@pytest.mark.parametrize("offset", [0, 2, 4])
def test_a_replica_gets_its_rows_of_what_is_drawn_for_the_global_batch(shape, offset, monkeypatch):
    whole = normal((6, *shape[1:]))
    monkeypatch.setattr(randomness, "place_in_global_batch", lambda local: (offset, 6))
    rows = rows_of_global_batch(shape, normal)
    assert rows.shape == shape
    np.testing.assert_array_equal(rows, whole[offset : offset + 2])


def test_one_replica_gets_all_rows():
    np.testing.assert_array_equal(rows_of_global_batch((6, 3), normal), normal((6, 3)))


def test_the_batch_may_be_unknown():
    images = tf.zeros((5, 4, 4, 3))
    traced = tf.function(
        lambda x: rows_of_global_batch(tf.shape(x), normal), input_signature=[tf.TensorSpec([None] * 4)]
    )
    np.testing.assert_array_equal(traced(images), normal(images.shape))


def test_every_step_and_every_seed_has_its_own():
    drawn = {tuple(step_seed(seed, step).numpy()) for seed in (0, 1, 2**31 - 1) for step in (0, 1, 2**31 - 1)}
    folded = {tuple(fold_in(tf.constant(SEED), number).numpy()) for number in range(9)}
    assert len(drawn) == len(folded) == 9
    np.testing.assert_array_equal(step_seed(7, tf.constant(5, tf.int64)), step_seed(7, 5))
