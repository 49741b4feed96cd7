"""The balls beside NumPy in float64: norms, draws, steps, projections, and the ways to hyperplanes."""

import hypothesis
import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks import BALLS
from acl_tf.attacks.balls import L1, L2, PIXELS, Linf, displaced
from acl_tf.errors import UsageError
from tests.attacks.scenes import SEED, images
from tests.attacks.stepping import DUALS, ORDERS
from tests.reference import l1, l1_in_box

every_norm = pytest.mark.parametrize("norm", BALLS)
norms, numbers = st.sampled_from(list(BALLS)), st.integers(0, 2**31 - 1)
radii = st.sampled_from([0.0, 1e-3, 0.5, 3.0, 30.0]) | st.floats(0, 5)


def noise(seed: int, shape: tuple[int, ...] = (4, 4, 4, 3), scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed + 7).normal(size=shape)


def lengths(values: tf.Tensor | np.ndarray, order: float) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return np.linalg.norm(values.reshape(len(values), -1), order, axis=1)


def test_they_are_found_by_the_names_of_their_norms():
    assert {norm: BALLS[norm] for norm in BALLS} == {"linf": Linf, "l2": L2, "l1": L1}
    with pytest.raises(UsageError, match=r"^Unknown norm; did you mean \"l2\"\? Known: linf, l2, l1\."):
        BALLS["l3"]


# Norms


@hypothesis.given(norm=norms, seed=numbers)
def test_norms_and_dual_norms(norm, seed):
    values, ball = noise(seed), BALLS[norm]()
    np.testing.assert_allclose(np.ravel(ball.norm(tf.constant(values))), lengths(values, ORDERS[norm]))
    np.testing.assert_allclose(np.ravel(ball.dual_norm(tf.constant(values))), lengths(values, DUALS[norm]))
    of_planes = ball.norm(tf.constant(values), (1, 2))
    assert of_planes.shape == (4, 1, 1, 3)
    np.testing.assert_allclose(of_planes[1, 0, 0, 2], np.linalg.norm(values[1, :, :, 2].ravel(), ORDERS[norm]))


@hypothesis.given(norm=norms, length=st.floats(1e-3, 10), seed=numbers)
def test_directions_can_be_scaled(norm, length, seed):
    ball = BALLS[norm]()
    found = ball.scaled(ball.direction((4, 4, 4, 3), tf.constant([seed, 1])), length)
    np.testing.assert_allclose(lengths(found, ORDERS[norm]), length, rtol=1e-5)


# Draws


@every_norm
@pytest.mark.parametrize("epsilon", [0.1, 12.0])
def test_draws_fill_the_ball(norm, epsilon):
    """Where points are uniform, the radius to the power of the dimension is uniform in [0, 1]."""
    drawn = BALLS[norm]().draw((3000, 2, 2, 1), tf.constant(SEED), epsilon)
    shares = lengths(drawn, ORDERS[norm]) / epsilon
    assert shares.max() <= 1 + 1e-6
    assert scipy.stats.kstest(shares**4, "uniform").pvalue > 1e-3
    assert np.abs(np.mean(np.sign(drawn), axis=0)).max() < 0.06


# Steps


@hypothesis.given(norm=norms, size=st.floats(1e-3, 2), seed=numbers)
def test_a_step_has_its_length_and_gains(norm, size, seed):
    """In l2 and l∞ as much as any step of that length can; in l1 it is shared by several pixels."""
    x, gradient = images(seed=seed, dtype=tf.float64), noise(seed)
    ball = L1(1.0) if norm == "l1" else BALLS[norm]()
    delta = ball.step(x, tf.constant(gradient), size) - x
    gains = np.sum(delta * gradient, axis=PIXELS)
    most = size * lengths(gradient, DUALS[norm])
    np.testing.assert_allclose(lengths(delta, ORDERS[norm]), size, rtol=1e-9)
    assert np.all((gains > 0) & (gains <= most * (1 + 1e-9)))
    if norm != "l1":
        np.testing.assert_allclose(gains, most, rtol=1e-9)


@every_norm
def test_without_a_gradient_there_is_no_step(norm):
    x = images()
    np.testing.assert_array_equal(BALLS[norm]().step(x, tf.zeros_like(x), 0.5), x)


@pytest.mark.parametrize("sparsity", [0, -0.1, 1.5, float("nan")])
def test_sparsity(sparsity):
    with pytest.raises(ValueError) as error:
        L1(sparsity)
    assert str(error.value) == f"`sparsity` must be in (0, 1]. Received: sparsity={sparsity}"


# Projections


def projected(norm: str, moved: np.ndarray, center: np.ndarray, epsilon: float) -> np.ndarray:
    """Onto the ball and then onto [0, 1], in float64."""
    delta = moved - center
    if norm == "linf":
        inside = np.clip(delta, -epsilon, epsilon)
    elif norm == "l2":
        size = lengths(delta, 2).reshape(-1, 1, 1, 1)
        inside = delta * np.minimum(1, epsilon / np.maximum(size, 1e-300))
    else:
        inside = np.stack([l1.project(one, epsilon) for one in delta])
    return np.clip(center + inside, 0, 1)


@hypothesis.settings(max_examples=60)
@hypothesis.given(norm=norms, epsilon=radii, scale=st.sampled_from([1e-3, 0.1, 1.0, 10.0]), seed=numbers)
def test_projections(norm, epsilon, scale, seed):
    center = images(seed=seed, dtype=tf.float64).numpy()
    moved, ball = center + noise(seed, scale=scale), BALLS[norm]()
    found = ball.project(tf.constant(moved), tf.constant(center), epsilon)
    epsilon = float(np.float32(epsilon)) if norm == "l2" else epsilon  # which TensorFlow takes from Python as float32
    np.testing.assert_allclose(found, projected(norm, moved, center, epsilon), atol=1e-9)
    assert lengths(found - center, ORDERS[norm]).max() <= epsilon * (1 + 1e-9) + 1e-12
    assert np.min(found) >= 0 and np.max(found) <= 1
    np.testing.assert_allclose(ball.project(found, tf.constant(center), epsilon), found, atol=1e-9)


@hypothesis.settings(max_examples=40)
@hypothesis.given(norm=norms, epsilon=st.floats(0.1, 6), seed=numbers)
def test_no_point_of_the_ball_is_nearer(norm, epsilon, seed):
    """Where the box is far: the way to the projection makes no acute angle with the way from it to any other point."""
    center, ball = np.full((4, 4, 4, 3), 0.5), BALLS[norm]()
    moved = center + noise(seed, scale=0.1)
    found = ball.project(tf.constant(moved), tf.constant(center), epsilon).numpy()
    hypothesis.assume(found.min() > 0 and found.max() < 1)
    drawn = ball.draw((400, 4, 4, 3), tf.constant([seed, 0]), epsilon, tf.float64).numpy()
    others = center + drawn.reshape(100, *center.shape)
    assert np.sum((moved - found) * (others - found), axis=(2, 3, 4)).max() <= 1e-9


@hypothesis.given(epsilon=st.floats(1e-2, 20), seed=numbers)
def test_the_exact_projection_of_l1_is_no_farther_than_the_published_one(epsilon, seed):
    center = images(seed=seed, dtype=tf.float64).numpy()
    delta = noise(seed)
    exact = L1().displace(tf.constant(center), tf.constant(delta), epsilon).numpy()
    expected = center + np.stack([l1_in_box.project(*one, epsilon) for one in zip(center, delta)])
    np.testing.assert_allclose(exact, expected, atol=1e-6)
    published = L1().project(tf.constant(center + delta), tf.constant(center), epsilon)
    far, farther = (lengths(center + delta - found, 2) for found in (exact, published))
    assert np.all(far <= farther + 1e-9)


def test_no_pixel_is_displaced_too_far():
    """In float32, where sums of a centre and what moves it are rounded."""
    center = images(batch=2, size=64).numpy()
    delta = noise(3, center.shape, 0.01).astype(np.float32)
    found = displaced(tf.constant(center), tf.constant(delta)).numpy().astype(np.float64)
    # But for the rounding of the difference that it compares with.
    assert np.all(np.abs(found - center) <= np.abs(delta.astype(np.float64)) * (1 + 2.0**-23))
    assert found.min() >= 0 and found.max() <= 1


# Hyperplanes


@every_norm
def test_the_shortest_way_to_a_hyperplane(norm):
    """Beside linear programming in l∞ and l1, and the normal in l2, where nothing meets [0, 1]."""
    center, normals = images(seed=5, size=2, dtype=tf.float64).numpy(), noise(5, (4, 2, 2, 3))
    excess = 0.3 * np.abs(normals).sum(axis=PIXELS) * np.array([0.1, -0.2, 0.3, -0.4])
    if norm == "l2":
        center = np.full_like(center, 0.5)
    moves = BALLS[norm]().to_plane(*(tf.constant(part, tf.float32) for part in (center, normals, excess))).numpy()
    for image, normal, wanted, move in zip(center, normals, excess, moves):
        assert (image + move).min() >= -1e-6 and (image + move).max() <= 1 + 1e-6
        least = shortest(norm, image.ravel(), normal.ravel(), wanted)
        if least is not None:
            np.testing.assert_allclose(np.sum(move * normal), -wanted, atol=1e-4)
            np.testing.assert_allclose(np.linalg.norm(move.ravel(), ORDERS[norm]), least, rtol=1e-4)


def shortest(norm: str, image: np.ndarray, normal: np.ndarray, wanted: float) -> float | None:
    """The length of the shortest way; None where no point of [0, 1] is on the plane."""
    if norm == "l2":
        return abs(wanted) / float(np.linalg.norm(normal))
    count = len(image)
    # Minimise the sizes of the moves, which are the variables after the moves: one for all in l∞, one each in l1.
    sizes = np.ones((count, 1)) if norm == "linf" else np.eye(count)
    above, below = (np.hstack([sign * np.eye(count), -sizes]) for sign in (1, -1))
    costs = np.concatenate([np.zeros(count), np.ones(sizes.shape[1])])
    bounds = [*zip(-image, 1 - image), *[(0, None)] * sizes.shape[1]]
    plane = np.concatenate([normal, np.zeros(sizes.shape[1])])[None]
    found = scipy.optimize.linprog(costs, np.vstack([above, below]), np.zeros(2 * count), plane, [-wanted], bounds)
    return found.fun if found.success else None
