"""The shortest moves of points in [0, 1] onto a hyperplane, inside [0, 1].

Every coordinate moves towards the plane at its own rate until it reaches its bound. The total gain (how far the moves
take the point towards the plane) is a concave, piecewise linear function of the length that the unbounded coordinates
have moved, so Newton's method finds the length for the wanted gain from below, in a few steps and without sorting.
"""

from collections.abc import Callable

import tensorflow as tf

NEWTON_STEPS = 50  # an upper bound: about eight suffice for 3,072 coordinates


def nearest_linf(points: tf.Tensor, normals: tf.Tensor, excess: tf.Tensor) -> tf.Tensor:
    """Returns the moves of least l∞ norm: every coordinate moves by the same amount, as far as it has room.

    Args:
        points: Points in [0, 1], of shape `(batch, dimensions)`.
        normals: Normals of the hyperplanes, of the same shape.
        excess: Distance by which each point is beyond its hyperplane, times the length of the normal; shape `(batch,)`.
            The moves change `normals · points` by minus this number, or by as much as they can if the hyperplane does
            not meet [0, 1].

    Returns:
        The moves, of shape `(batch, dimensions)`.

    Reference: Croce and Hein, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack", ICML
    2020, section 2.
    """
    direction, room, rate, wanted = _towards(points, normals, excess)

    def moved(length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        move = tf.minimum(length, room)
        return move, tf.where(length < room, rate, 0)

    return direction * _reach(moved, rate, wanted)


def nearest_l2(points: tf.Tensor, normals: tf.Tensor, excess: tf.Tensor) -> tf.Tensor:
    """Returns the moves of least l2 norm: coordinates move in proportion to the normal, as far as they have room.

    Arguments, result and reference are those of `nearest_linf`.
    """
    direction, room, rate, wanted = _towards(points, normals, excess)

    def moved(length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        move = tf.minimum(length * rate, room)
        return move, tf.where(length * rate < room, tf.square(rate), 0)

    return direction * _reach(moved, rate, wanted)


def nearest_l1(points: tf.Tensor, normals: tf.Tensor, excess: tf.Tensor) -> tf.Tensor:
    """Returns the moves of least l1 norm: the coordinates that gain most move first, each as far as it has room.

    Arguments, result and reference are those of `nearest_linf`.
    """
    direction, room, rate, wanted = _towards(points, normals, excess)
    order = tf.argsort(rate, axis=1, direction="DESCENDING")
    sorted_rate, sorted_room = (tf.gather(values, order, batch_dims=1) for values in (rate, room))
    before = tf.cumsum(sorted_rate * sorted_room, axis=1, exclusive=True)
    needed = tf.math.divide_no_nan(wanted[:, tf.newaxis] - before, sorted_rate)
    move = tf.clip_by_value(needed, 0, sorted_room)
    return direction * tf.gather(move, tf.argsort(order, axis=1), batch_dims=1)


def _towards(points: tf.Tensor, normals: tf.Tensor, excess: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Returns each coordinate's direction, room and gain per unit of movement, and the gain that is wanted."""
    # The gradients of a confident model are so small that their squares would underflow to 0.
    scale = tf.reduce_max(tf.abs(normals), axis=1)
    rate = tf.math.divide_no_nan(tf.abs(normals), scale[:, tf.newaxis])
    direction = -tf.sign(normals) * tf.where(excess >= 0, 1.0, -1.0)[:, tf.newaxis]
    room = tf.where(direction > 0, 1 - points, points)
    return direction, room, rate, tf.math.divide_no_nan(tf.abs(excess), scale)


def _reach(moved: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], rate: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Returns the moves with the wanted gain, by Newton's method from 0."""

    def advance(step: tf.Tensor, length: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        move, slopes = moved(length[:, tf.newaxis])
        missing = wanted - tf.reduce_sum(rate * move, axis=1)
        further = tf.maximum(tf.math.divide_no_nan(missing, tf.reduce_sum(slopes, axis=1)), 0)
        return step + 1, length + further, tf.reduce_any(further > 1e-6 * length)

    _, length, _ = tf.while_loop(
        lambda step, _, going: going & (step < NEWTON_STEPS),
        advance,
        (tf.constant(0), tf.zeros_like(wanted), tf.constant(True)),
    )
    return moved(length[:, tf.newaxis])[0]
