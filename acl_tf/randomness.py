"""Random numbers that depend on a seed and on the place of an image in the global batch, and on nothing else."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from acl_tf.training.distribution import place_in_global_batch


def step_seed(seed: int, step: tf.Tensor | int) -> tf.Tensor:
    """Returns the seed of a training step: an int32 tensor of shape `(2,)` for `tf.random.stateless_*`."""
    return fold_in(tf.constant([seed, 0], tf.int32), step)


def fold_in(seed: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """Returns a seed that is independent of `seed` and of what other numbers give."""
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int32))


def uniform_rows(
    shape: tf.Tensor | Sequence[int], seed: tf.Tensor, low: float, high: float, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """Draws this replica's rows of a uniform draw for the global batch.

    Args:
        shape: `(local batch, …)`.
        seed: int32 tensor of shape `(2,)`.
        low: Lower bound.
        high: Upper bound.
        dtype: Of the result.

    Returns:
        Tensor of that shape; the replicas' rows together are what one replica would draw for the whole batch.
    """
    return _rows(shape, lambda whole: tf.random.stateless_uniform(whole, seed, low, high, dtype))


def normal_rows(
    shape: tf.Tensor | Sequence[int], seed: tf.Tensor, stddev: float = 1.0, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """Draws this replica's rows of a normal draw, of mean 0, for the global batch.

    Args:
        shape: `(local batch, …)`.
        seed: int32 tensor of shape `(2,)`.
        stddev: Standard deviation.
        dtype: Of the result.

    Returns:
        Tensor of that shape; the replicas' rows together are what one replica would draw for the whole batch.
    """
    return _rows(shape, lambda whole: tf.random.stateless_normal(whole, seed, 0.0, stddev, dtype))


def _rows(shape: tf.Tensor | Sequence[int], draw: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Draws for the global batch and returns this replica's rows."""
    offset, total = place_in_global_batch(shape[0])
    whole = draw(tf.concat([[total], shape[1:]], axis=0))
    return tf.reshape(whole[offset : offset + shape[0]], shape)
