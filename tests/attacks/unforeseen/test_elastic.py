import hypothesis
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.unforeseen.elastic import ElasticAttack, smoothed, warped
from acl_tf.attacks.unforeseen.latent import Latent
from tests.attacks.scenes import images


def everywhere(down: float, right: float, shape: tuple[int, ...] = (4, 8, 8)) -> tf.Tensor:
    return tf.constant(np.broadcast_to([down, right], (*shape, 2)).astype("float32"))


def test_without_flow_it_is_the_image():
    x = images(size=8)
    found = ElasticAttack(1.0, 1, 0.1).render(x, Latent(everywhere(0, 0)))
    np.testing.assert_allclose(found, x, atol=1e-6)


@pytest.mark.parametrize("down, right", [(1, 0), (0, 2), (-3, 1), (-1, -2), (8, 0), (100, -100)])
def test_a_flow_of_whole_pixels_is_a_shift(down, right):
    """Zeros come in from outside."""
    x = images(size=8)
    padded = np.pad(x, ((0, 0), (108, 108), (108, 108), (0, 0)))
    expected = padded[:, 108 + down : 116 + down, 108 + right : 116 + right]
    np.testing.assert_allclose(warped(x, everywhere(down, right)), expected, atol=1e-6)
    # A flow that is the same everywhere is not changed by smoothing.
    rendered = ElasticAttack(1.0, 1, 0.1).render(x, Latent(everywhere(down, right)))
    np.testing.assert_allclose(rendered, expected, atol=1e-4)


@hypothesis.given(size=st.sampled_from([0.1, 1.0, 6.0]), seed=st.integers(0, 2**31 - 1))
def test_reads_between_pixels_as_scipy_does(size, seed):
    x = images(batch=2, size=7, seed=seed, dtype=tf.float64)[:, :6]
    flow = np.random.default_rng(seed).normal(0, size, (2, 6, 7, 2))
    places = np.moveaxis(np.stack(np.mgrid[:6, :7], axis=-1) + flow, -1, 1)
    found = warped(x, tf.constant(flow))
    for image, channel in np.ndindex(2, 3):
        expected = scipy.ndimage.map_coordinates(
            x[image, :, :, channel].numpy(), places[image], order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(found[image, :, :, channel], expected, atol=1e-9)


@pytest.mark.parametrize("height, width, reach", [(32, 32, 2), (48, 32, 2), (224, 224, 12)])
def test_smoothing(height, width, reach):
    """By a Gaussian of 3/224 of the shorter side: kernels of 5 x 5 and 25 x 25 pixels, as published."""
    flow = np.random.default_rng(0).normal(size=(1, height, width, 2))
    found = smoothed(tf.constant(flow))
    for axis in range(2):
        expected = scipy.ndimage.gaussian_filter(
            flow[0, :, :, axis], 3 * min(height, width) / 224, mode="mirror", radius=reach
        )
        np.testing.assert_allclose(found[0, :, :, axis], expected, atol=1e-9)


def test_smoothing_never_lengthens_a_flow():
    flow = tf.sign(tf.random.stateless_normal((2, 32, 32, 2), (1, 2)))
    assert np.abs(smoothed(flow)).max() <= 1 + 1e-6


def test_gradients_are_those_of_differences():
    """Between the pixels; in float64."""
    x = images(batch=1, size=8, dtype=tf.float64)
    random = np.random.default_rng(1)
    weights, flow = random.normal(size=x.shape), random.uniform(0.2, 0.8, (1, 8, 8, 2))

    def loss(flow: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(warped(x, flow) * weights)

    with tf.GradientTape() as tape:
        variable = tf.constant(flow)
        tape.watch(variable)
        value = loss(variable)
    gradient = tape.gradient(value, variable).numpy()
    for place in [(0, 0, 0, 0), (0, 3, 4, 1), (0, 7, 7, 0), (0, 7, 7, 1)]:
        moved = flow.copy()
        moved[place] += 1e-6
        np.testing.assert_allclose(gradient[place], (loss(tf.constant(moved)) - value) / 1e-6, atol=1e-4)
