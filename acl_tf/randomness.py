"""Random numbers that depend on a seed and on the place of an image in the global batch, and on nothing else."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from acl_tf.replicas import place_in_global_batch


def step_seed(seed: int, step: tf.Tensor | int) -> tf.Tensor:
    """Returns the seed of a training step: an int32 tensor of shape `(2,)` for `tf.random.stateless_*`."""
    return fold_in(tf.constant([seed, 0], tf.int32), step)


def fold_in(seed: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """Returns a seed that is independent of `seed` and of what other numbers give."""
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int32))


def draw_each(seeds: tf.Tensor, draw: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Draws for each seed by itself, so that what it gives does not depend on the others.

    Args:
        seeds: int32, of shape `(batch, 2)`.
        draw: From one seed to float32 numbers, of one shape for all.

    Returns:
        The numbers, one below the other.
    """
    return tf.map_fn(draw, seeds, fn_output_signature=tf.float32)


def rows_of_global_batch(shape: tf.Tensor | Sequence[int], draw: Callable[[tf.Tensor], Any]) -> Any:
    """Draws for the global batch and returns this replica's rows.

    Args:
        shape: `(local batch, …)`.
        draw: Draws numbers for images of the shape that it is given: a tensor of that shape, or a structure of tensors
            with a row an image.

    Returns:
        The same for this replica's images; the replicas' rows together are what one replica would draw for the whole
        batch.
    """
    offset, total = place_in_global_batch(shape[0])
    whole = draw(tf.concat([[total], shape[1:]], axis=0))
    if tf.is_tensor(whole):
        return tf.reshape(whole[offset : offset + shape[0]], shape)
    return tf.nest.map_structure(lambda part: part[offset : offset + shape[0]], whole)
