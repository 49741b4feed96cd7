import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.unforeseen.fog import FogAttack, fog_map, levels
from acl_tf.attacks.unforeseen.latent import Latent
from tests.attacks.scenes import SEED, images
from tests.reference import diamond_square


@hypothesis.settings(max_examples=10)
@hypothesis.given(depth=st.integers(1, 5), seed=st.integers(0, 2**31 - 1))
def test_map_matches_the_oracle(depth, seed):
    numbers = np.random.default_rng(seed).random((2, 4**depth - 1))
    found = fog_map(tf.constant(numbers), depth)
    np.testing.assert_allclose(found, [diamond_square.fog_map(own, 2**depth) for own in numbers], atol=1e-9)


@pytest.mark.parametrize("height, width, side", [(32, 32, 64), (224, 224, 256), (16, 48, 64), (33, 20, 64), (1, 1, 2)])
def test_the_map_is_larger_than_the_image(height, width, side):
    assert 2 ** levels(height, width) == side


def test_thickness_is_from_0_to_1_in_every_map():
    """Of each by itself: the published code takes the extremes of the whole batch."""
    fog = fog_map(tf.random.stateless_uniform((5, 4**5 - 1), SEED), 5).numpy()
    np.testing.assert_allclose(fog.min(axis=(1, 2)), 0, atol=1e-7)
    np.testing.assert_allclose(fog.max(axis=(1, 2)), 1, atol=1e-6)


def test_coarse_numbers_weigh_more():
    """Each level half as much as the one before."""
    flat = np.full((1, 4**5 - 1), 0.5)
    spread = []
    for level in range(1, 5):
        numbers = flat.copy()
        numbers[:, 4**level - 1 : 4 ** (level + 1) - 1] = np.random.default_rng(level).random((1, 3 * 4**level))
        # Beside a fixed coarse number, which sets the scale.
        numbers[0, 0] = 1.0
        flat_map = fog_map(tf.constant(np.where(np.arange(4**5 - 1) == 0, 1.0, flat)), 5)
        spread.append(np.abs(fog_map(tf.constant(numbers), 5) - flat_map).max())
    assert np.all(np.diff(spread) < 0)


def test_images_in_fog():
    x = images(batch=2, size=8)
    numbers = tf.random.stateless_uniform((2, 4**4 - 1), SEED)
    fog = np.array([diamond_square.fog_map(own, 16) for own in numbers.numpy()])[:, 4:12, 4:12, np.newaxis]
    for epsilon in (0.1, 3.0):
        brightest = x.numpy().max(axis=(1, 2), keepdims=True) + epsilon
        found = FogAttack(epsilon, 1, 0.1).render(x, Latent(numbers))
        np.testing.assert_allclose(found, np.clip((x + epsilon * fog) / brightest, 0, 1), atol=1e-5)


def test_without_fog_the_brightest_pixel_becomes_white():
    x = 0.5 * images(batch=2, size=8)
    found = FogAttack(0.0, 0).render(x, FogAttack(0.0, 0).start(x.shape, tf.constant(SEED))).numpy()
    np.testing.assert_allclose(found, x / x.numpy().max(axis=(1, 2), keepdims=True), atol=1e-6)
    black = tf.zeros((1, 8, 8, 3))
    np.testing.assert_array_equal(FogAttack(0.0, 0).render(black, Latent(tf.fill([1, 255], 0.5))), black)


def test_start_is_uniform():
    start = FogAttack(1.0, 1, 0.1).start((4, 32, 32, 3), tf.constant(SEED)).moving.numpy()
    assert start.shape == (4, 4095)
    shares, _ = np.histogram(start, 10, (0, 1))
    np.testing.assert_allclose(shares / start.size, 0.1, atol=0.01)
