"""Projections onto the l1 ball, and onto the part of it that lies in [0, 1]."""

import tensorflow as tf


def project_l1(delta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Returns the Euclidean projection of each perturbation onto the l1 ball.

    Args:
        delta: Perturbations, of shape `(batch, height, width, channels)`.
        epsilon: Radius of the ball.

    Returns:
        The nearest points of the ball, of the same shape.

    Reference: Duchi et al., "Efficient Projections onto the l1-Ball for Learning in High Dimensions", ICML 2008,
    Figure 1.
    """
    # In float64: the sums of thousands of pixels are compared with single ones.
    sizes = tf.cast(tf.reshape(tf.abs(delta), [tf.shape(delta)[0], -1]), tf.float64)
    largest_first = tf.sort(sizes, direction="DESCENDING")
    ranks = tf.range(1, tf.shape(sizes)[1] + 1, dtype=tf.float64)
    # For each rank, the amount to subtract if only the sizes up to it stay positive; the right one is that of the last
    # size that does.
    thresholds = (tf.cumsum(largest_first, axis=1) - epsilon) / ranks
    remaining = tf.reduce_sum(tf.cast(largest_first > thresholds, tf.int32), axis=1)
    threshold = tf.gather(thresholds, tf.maximum(remaining - 1, 0), batch_dims=1)[:, tf.newaxis]
    projected = tf.maximum(sizes - tf.maximum(threshold, 0), 0)
    return tf.sign(delta) * tf.cast(tf.reshape(projected, tf.shape(delta)), delta.dtype)


def project_l1_in_box(center: tf.Tensor, delta: tf.Tensor, epsilon: tf.Tensor | float) -> tf.Tensor:
    """Returns the Euclidean projection of perturbations onto those in the l1 ball that keep images in [0, 1].

    Projecting onto the two sets one after the other would never reach the most distant points of the intersection.

    Args:
        center: Images in [0, 1], of shape `(batch, height, width, channels)`.
        delta: Perturbations of the images, of the same shape.
        epsilon: Radius of the ball, in pixels of [0, 1]: one number, or one per image.

    Returns:
        The nearest perturbations, of the same shape: each pixel moves by `clip(|delta| - threshold, 0, room)`, where
        `room` is its distance to the bound of [0, 1] in that direction.

    Reference: Croce and Hein, "Mind the Box: l1-APGD for Sparse Adversarial Attacks on Image Classifiers", ICML 2021,
    Proposition 2.1.
    """
    shape = tf.shape(delta)
    flat = [shape[0], -1]
    # In float64: the sums of thousands of pixels are compared with single ones.
    wanted = tf.cast(tf.reshape(tf.abs(delta), flat), tf.float64)
    room = tf.cast(tf.reshape(tf.where(delta > 0, 1 - center, center), flat), tf.float64)
    radius = tf.broadcast_to(tf.cast(epsilon, tf.float64), [shape[0]])
    moved = tf.clip_by_value(wanted - _threshold(wanted, room, radius)[:, tf.newaxis], 0, room)
    return tf.sign(delta) * tf.cast(tf.reshape(moved, shape), delta.dtype)


def _threshold(wanted: tf.Tensor, room: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
    """Returns the smallest threshold such that the moves `clip(wanted - threshold, 0, room)` sum to the radius at most.

    The sum is piecewise linear in the threshold: each move begins to fall at `wanted - room`, and is 0 from `wanted`.
    """
    breaks = tf.concat([tf.maximum(wanted - room, 0), wanted], axis=1)
    changes = tf.concat([-tf.ones_like(wanted), tf.ones_like(wanted)], axis=1)
    order = tf.argsort(breaks, axis=1)
    breaks, changes = (tf.gather(values, order, batch_dims=1) for values in (breaks, changes))
    slopes = tf.cumsum(changes, axis=1)  # after each break
    falls = slopes[:, :-1] * (breaks[:, 1:] - breaks[:, :-1])
    whole = tf.reduce_sum(tf.minimum(wanted, room), axis=1, keepdims=True)
    sums = whole + tf.concat([tf.zeros_like(whole), tf.cumsum(falls, axis=1)], axis=1)  # at each break
    last = tf.maximum(tf.reduce_sum(tf.cast(sums > radius[:, tf.newaxis], tf.int32), axis=1) - 1, 0)
    at, total, slope = (tf.gather(values, last, batch_dims=1) for values in (breaks, sums, slopes))
    return tf.where(whole[:, 0] > radius, at + tf.math.divide_no_nan(radius - total, slope), 0)
