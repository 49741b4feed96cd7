import hypothesis
import numpy as np
import scipy.optimize
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.unforeseen.frank_wolfe import L1FrankWolfe, furthest_corner
from tests.attacks.scenes import SEED, distances, images, linear, slope


def optimum(weights: np.ndarray, image: np.ndarray, epsilon: float) -> float:
    """The largest gain of a linear loss in the l1 ball around an image, cut with [0, 1], by linear programming."""
    w, x = weights.ravel().astype(np.float64), image.ravel().astype(np.float64)
    # The perturbation as what is added and what is taken away.
    bounds = [(0, room) for room in (*(1 - x), *x)]
    solved = scipy.optimize.linprog(np.concatenate([-w, w]), np.ones((1, 2 * len(w))), [epsilon], bounds=bounds)
    return -solved.fun


@hypothesis.settings(max_examples=10)
@hypothesis.given(epsilon=st.sampled_from([0.0, 0.3, 2.5, 9.0, 100.0]), seed=st.integers(0, 2**31 - 1))
def test_finds_the_optimum_of_a_linear_loss(epsilon, seed):
    x, weights = images(batch=2, seed=seed), slope(seed)
    attack = L1FrankWolfe(epsilon, steps=3)
    found = attack(x, linear(weights), attack.start(x.shape, tf.constant(SEED))).images
    gains = linear(weights)(found) - linear(weights)(x)
    np.testing.assert_allclose(gains, [optimum(weights, image, epsilon) for image in x.numpy()], rtol=1e-5, atol=1e-5)
    assert distances(found, x, 1).max() <= epsilon + 1e-6 * max(1, epsilon)


def test_corner_by_hand():
    """The second has the largest gradient, but little room; the first gets what is left of the radius."""
    gradient = tf.constant([[2.0, -3.0, 1.0, 0.0]])
    room = tf.constant([[0.5, 0.2, 1.0, 1.0]])
    for epsilon, expected in ((0.1, [0, -0.1, 0, 0]), (0.6, [0.4, -0.2, 0, 0]), (1.0, [0.5, -0.2, 0.3, 0])):
        np.testing.assert_allclose(furthest_corner(gradient, room, epsilon), [expected], atol=1e-7)


def test_pixels_at_their_bounds_have_gradients():
    """Or those that a corner has made white would get darker again."""
    x = images(batch=1)
    attack = L1FrankWolfe(100.0, steps=2)
    far = attack.start(x.shape, tf.constant(SEED))._replace(moving=tf.fill(x.shape, 2.0))
    found = attack(x, linear(slope()), far).images
    np.testing.assert_allclose(found, np.broadcast_to(slope() > 0, x.shape), atol=1e-6)


def test_the_perturbation_is_the_mean_of_the_corners():
    x, corners = images(batch=2), []
    loss = lambda y: tf.reduce_sum(tf.sin(9 * y) * slope(), axis=(1, 2, 3))  # noqa: E731
    attack = L1FrankWolfe(1.0, steps=4)
    step = attack.step

    def noted(moving: tf.Tensor, gradient: tf.Tensor, number: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        corners.append(furthest_corner(gradient, tf.where(gradient > 0, 1 - images, images), 1.0))
        return step(moving, gradient, number, images)

    attack.step = noted
    found = attack(x, loss, attack.start(x.shape, tf.constant(SEED))).images
    assert len({corner.numpy().tobytes() for corner in corners}) == 4
    np.testing.assert_allclose(found, x + tf.add_n(corners) / 4, atol=1e-6)


def test_stays_in_the_ball_where_thousands_of_pixels_are_summed():
    x = images(batch=2, size=64)
    attack = L1FrankWolfe(24960 / 255, steps=3)
    loss = lambda y: tf.reduce_sum(tf.sin(9 * y) * slope(size=64), axis=(1, 2, 3))  # noqa: E731
    found = attack(x, loss, attack.start(x.shape, tf.constant(SEED))).images
    assert distances(found, x, 1).max() <= 24960 / 255 * (1 + 1e-6)
