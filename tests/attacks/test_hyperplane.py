"""The shortest ways to a hyperplane, beside exact solutions."""

from typing import NamedTuple

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from scipy.optimize import linprog

from acl_tf.attacks.hyperplane import nearest_l1, nearest_l2, nearest_linf

NEAREST = {"linf": nearest_linf, "l2": nearest_l2, "l1": nearest_l1}
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
every_norm = pytest.mark.parametrize("norm", NEAREST)
numbers = st.integers(0, 2**31 - 1)


class Scene(NamedTuple):
    points: np.ndarray
    normals: np.ndarray
    excess: np.ndarray


def scene(dimensions: int, seed: int, reach: float, unit: float = 1.0, count: int = 4) -> Scene:
    """Points of which some coordinates are black or white, and normals of which some are 0.

    The excess is `reach` of the greatest gain that [0, 1] allows: beyond 1 the plane is out of reach.
    """
    random = np.random.default_rng(seed)
    points = np.clip(random.uniform(-0.3, 1.3, (count, dimensions)), 0, 1).astype(np.float32)
    normals = random.normal(size=points.shape) * (random.uniform(size=points.shape) < 0.8)
    normals[:, 0] += 0.5
    normals = (unit * normals).astype(np.float32)
    excess = [abs(reach) * gain(p, n, np.sign(reach)) * np.sign(reach) for p, n in zip(points, normals)]
    return Scene(points, normals, np.array(excess, np.float32))


def gain(point: np.ndarray, normal: np.ndarray, sign: float) -> float:
    """How far the product with the normal can fall (rise, where `sign` is negative) inside [0, 1]."""
    corner = np.where(sign * normal > 0, 0.0, 1.0)
    return float(sign * (normal.astype(np.float64) @ (point - corner)))


def moves_of(norm: str, this: Scene) -> np.ndarray:
    return NEAREST[norm](*map(tf.constant, this)).numpy()


def least(norm: str, point: np.ndarray, normal: np.ndarray, excess: float) -> float:
    """The least norm of a move to the plane, in float64."""
    scale = np.abs(normal).max()
    normal, excess = normal.astype(np.float64) / scale, excess / scale
    low, high = -point.astype(np.float64), 1 - point.astype(np.float64)
    if norm == "l2":
        return least_l2(low, high, normal, excess)
    size = len(point)
    if norm == "linf":  # the last variable is the norm
        cost, bounds = np.eye(size + 1)[-1], [*zip(low, high), (0, None)]
        over = np.block([[np.eye(size), -np.ones((size, 1))], [-np.eye(size), -np.ones((size, 1))]])
        found = linprog(cost, over, np.zeros(2 * size), [[*normal, 0]], [-excess], bounds)
    else:  # what goes up, and what goes down
        bounds = [*((0, one) for one in high), *((0, -one) for one in low)]
        found = linprog(np.ones(2 * size), A_eq=[[*normal, *-normal]], b_eq=[-excess], bounds=bounds)
    assert found.status == 0
    return found.fun


def least_l2(low: np.ndarray, high: np.ndarray, normal: np.ndarray, excess: float) -> float:
    """By bisection of the multiplier of the plane."""
    sign = np.sign(excess)
    begin, end = 0.0, 1e9
    for _ in range(200):
        middle = (begin + end) / 2
        move = np.clip(-sign * middle * normal, low, high)
        begin, end = (middle, end) if -sign * (normal @ move) < abs(excess) else (begin, middle)
    return float(np.linalg.norm(np.clip(-sign * end * normal, low, high)))


@every_norm
@hypothesis.settings(max_examples=25)
@hypothesis.given(
    dimensions=st.integers(1, 12),
    reach=st.floats(1e-3, 0.99).flatmap(lambda share: st.sampled_from([share, -share])),
    unit=st.sampled_from([1e-25, 1e-12, 1.0, 1e4]),
    seed=numbers,
)
def test_the_move_to_the_plane_is_the_shortest(norm, dimensions, reach, unit, seed):
    this = scene(dimensions, seed, reach, unit)
    moves = moves_of(norm, this)
    assert np.all(this.points + moves >= -1e-6) and np.all(this.points + moves <= 1 + 1e-6)
    for point, normal, excess, move in zip(*this, moves):
        lengths = np.abs(normal.astype(np.float64))
        np.testing.assert_allclose(normal.astype(np.float64) @ move, -excess, atol=3e-6 * lengths.sum(), rtol=1e-5)
        expected = least(norm, point, normal, float(excess))
        tolerance = 1e-5 * lengths.sum() / lengths.max()
        np.testing.assert_allclose(np.linalg.norm(move, ORDERS[norm]), expected, rtol=1e-4, atol=tolerance)


@every_norm
@pytest.mark.parametrize("reach", [1.01, -1.01, 1.5, -20.0, 1e6])
def test_out_of_reach_it_goes_to_the_corner_that_is_nearest_to_the_plane(norm, reach):
    this = scene(9, 3, reach)
    moves = moves_of(norm, this)
    towards = np.where(np.sign(reach) * this.normals > 0, 0.0, 1.0)
    expected = np.where(this.normals == 0, this.points, towards)
    np.testing.assert_allclose(this.points + moves, expected, atol=1e-6)


@every_norm
@pytest.mark.parametrize("excess", [1.0, 0.0, -1.0])
def test_a_normal_of_zeros_moves_nothing(norm, excess):
    points = tf.fill([2, 5], 0.5)
    moves = NEAREST[norm](points, tf.zeros([2, 5]), tf.fill([2], excess))
    np.testing.assert_array_equal(moves, np.zeros((2, 5)))


@every_norm
def test_without_excess_nothing_moves(norm):
    this = scene(9, 5, 0.5)
    np.testing.assert_array_equal(moves_of(norm, this._replace(excess=np.zeros(4, np.float32))), np.zeros((4, 9)))


def test_by_hand():
    points, normals = tf.constant([[0.5, 0.5, 0.9]]), tf.constant([[1.0, -2.0, 0.0]])
    excess = tf.constant([0.6])
    np.testing.assert_allclose(nearest_linf(points, normals, excess), [[-0.2, 0.2, 0.0]], atol=1e-6)
    np.testing.assert_allclose(nearest_l2(points, normals, excess), [[-0.12, 0.24, 0.0]], atol=1e-6)
    np.testing.assert_allclose(nearest_l1(points, normals, excess), [[0.0, 0.3, 0.0]], atol=1e-6)
    far = tf.constant([1.2])  # the second coordinate meets 1
    np.testing.assert_allclose(nearest_linf(points, normals, far), [[-0.4, 0.4, 0.0]], atol=1e-6)
    np.testing.assert_allclose(nearest_l2(points, normals, far), [[-0.24, 0.48, 0.0]], atol=1e-6)
    np.testing.assert_allclose(nearest_l1(points, normals, far), [[-0.2, 0.5, 0.0]], atol=1e-6)


@every_norm
def test_each_point_is_moved_by_itself(norm):
    this = scene(12, 8, 0.7, count=6)
    alone = [moves_of(norm, Scene(*(part[row : row + 1] for part in this)))[0] for row in range(6)]
    np.testing.assert_allclose(moves_of(norm, this), alone, atol=1e-6)


@every_norm
def test_as_many_coordinates_as_an_image_has(norm):
    """A function whose slope falls in thousands of places still meets its root."""
    this = scene(3072, 9, 0.9)
    moves = moves_of(norm, this)
    gained = -np.einsum("bi,bi->b", this.normals.astype(np.float64), moves.astype(np.float64))
    np.testing.assert_allclose(gained, this.excess, rtol=1e-4)
