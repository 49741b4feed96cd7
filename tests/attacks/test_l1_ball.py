"""The part of an l1 ball in [0, 1], beside bisection and the conditions of an optimum."""

import hypothesis
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.l1_ball import project_l1_in_box
from tests.attacks.stepping import extremes
from tests.reference import l1_in_box

numbers = st.integers(0, 2**31 - 1)
radii = st.sampled_from([1e-3, 0.5, 3.0, 12.0, 100.0]) | st.floats(1e-2, 20)


def far(seed: int, scale: float = 1.0, count: int = 4, size: int = 4) -> np.ndarray:
    delta = scale * np.random.default_rng(seed + 9).normal(size=(count, size, size, 3)).astype(np.float32)
    delta[0, 0] = 0.5 * scale  # equal sizes
    delta[:, 1, 0] = 0.0
    return delta


@hypothesis.settings(max_examples=60)
@hypothesis.given(epsilon=radii, scale=st.sampled_from([1e-3, 0.1, 1.0, 10.0]), seed=numbers)
def test_matches_the_oracle(epsilon, scale, seed):
    center, delta = extremes(4, seed), far(seed, scale)
    found = project_l1_in_box(tf.constant(center), tf.constant(delta), epsilon).numpy()
    expected = [l1_in_box.project(*one, epsilon) for one in zip(center, delta)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found.astype(np.float64)).sum(axis=(1, 2, 3)).max() <= epsilon * (1 + 1e-6) + 1e-6
    assert (center + found).min() >= -1e-6 and (center + found).max() <= 1 + 1e-6


@hypothesis.given(epsilon=st.floats(0.1, 6), seed=numbers)
def test_no_other_point_of_the_ball_in_the_box_is_nearer(epsilon, seed):
    """The way to the projection makes no acute angle with the way from it to any point (the variational inequality)."""
    center, delta = extremes(4, seed).astype(np.float64), far(seed).astype(np.float64)
    found = project_l1_in_box(tf.constant(center), tf.constant(delta), epsilon).numpy()
    random = np.random.default_rng(seed)
    for _ in range(50):
        pixels = random.uniform(size=center.shape) * (random.uniform(size=center.shape) < random.uniform(0.02, 1))
        other = np.where(random.uniform(size=center.shape) < 0.5, pixels * (1 - center), -pixels * center)
        total = np.abs(other).sum(axis=(1, 2, 3), keepdims=True)
        other *= np.minimum(1, epsilon / np.maximum(total, 1e-12))
        assert np.sum((delta - found) * (other - found), axis=(1, 2, 3)).max() <= 1e-9


def test_what_is_inside_stays():
    center = extremes(4, 1)
    delta = np.clip(center + far(1, 0.1), 0, 1) - center
    np.testing.assert_array_equal(project_l1_in_box(tf.constant(center), tf.constant(delta), 50.0), delta)


def test_each_image_has_a_radius_of_its_own():
    center, delta = extremes(4, 2), far(2)
    radius = np.array([0.5, 1.0, 4.0, 100.0], np.float32)
    together = project_l1_in_box(tf.constant(center), tf.constant(delta), tf.constant(radius)).numpy()
    for row, one in enumerate(radius):
        alone = project_l1_in_box(tf.constant(center[row : row + 1]), tf.constant(delta[row : row + 1]), float(one))
        np.testing.assert_array_equal(together[row], alone[0])
    np.testing.assert_allclose(np.abs(together).sum(axis=(1, 2, 3))[:3], radius[:3], rtol=1e-5)


def test_by_hand():
    center = tf.reshape([0.5, 0.9, 0.0, 1.0], [1, 2, 2, 1])
    delta = tf.reshape([1.0, 0.6, -0.7, 0.0], [1, 2, 2, 1])
    # Of 1, 0.6 and -0.7 the box leaves 0.5, 0.1 and nothing.
    np.testing.assert_allclose(np.ravel(project_l1_in_box(center, delta, 1.0)), [0.5, 0.1, 0, 0], atol=1e-7)
    # All are lowered by 0.55 before the sum is 0.5: 0.45 and 0.05.
    np.testing.assert_allclose(np.ravel(project_l1_in_box(center, delta, 0.5)), [0.45, 0.05, 0, 0], atol=1e-6)


def test_in_a_function_of_images_of_any_number_and_size():
    signature = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([])]
    function = tf.function(project_l1_in_box, input_signature=signature)
    center, delta = extremes(4, 3), far(3)
    np.testing.assert_array_equal(function(center, delta, 1.5), project_l1_in_box(center, delta, 1.5))
