"""Random numbers that depend only on a seed and on the place of an image in the global batch."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from acl_tf.replicas import place_in_global_batch


def step_seed(seed: int, step: tf.Tensor | int) -> tf.Tensor:
    """Returns the seed of a training step: an int32 tensor of shape `(2,)` for `tf.random.stateless_*`."""
    return fold_in(tf.constant([seed, 0], tf.int32), step)


def fold_in(seed: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """Returns a seed that is independent of `seed` and of the seeds for other numbers."""
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int32))


def draw_each(seeds: tf.Tensor, draw: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Draws numbers for each seed separately, so that no draw depends on the other seeds.

    Args:
        seeds: int32 seeds, of shape `(batch, 2)`.
        draw: Function from one seed to float32 numbers, of the same shape for all seeds.

    Returns:
        The draws, stacked along the first axis.
    """
    return tf.map_fn(draw, seeds, fn_output_signature=tf.float32)


def rows_of_global_batch(shape: tf.Tensor | Sequence[int], draw: Callable[[tf.Tensor], Any]) -> Any:
    """Draws for the global batch and returns this replica's rows.

    Args:
        shape: Shape of one result, `(local batch, …)`.
        draw: Function that draws numbers of a given shape, or several such tensors of the same first axis.

    Returns:
        The rows of this replica; those of all replicas together equal the draw of one replica for the whole batch.
    """
    offset, total = place_in_global_batch(shape[0])
    whole = draw(tf.concat([[total], shape[1:]], axis=0))

    def rows(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values[offset : offset + shape[0]], tf.concat([[shape[0]], tf.shape(values)[1:]], axis=0))

    return tf.nest.map_structure(rows, whole)
