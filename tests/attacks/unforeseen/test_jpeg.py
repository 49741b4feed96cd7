import hypothesis
import numpy as np
import pytest
import scipy.fft
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.unforeseen.jpeg import L1JPEG, L2JPEG, LinfJPEG, inverse_cosine_transform
from acl_tf.attacks.unforeseen.latent import Latent
from tests.attacks.scenes import SEED, greys, images, linear, slope
from tests.reference import jpeg


def unchanged(height: int = 16, width: int = 16, batch: int = 1) -> np.ndarray:
    return np.zeros((batch, height * width * 3 // 2), np.float32)


def render(x: tf.Tensor, values: np.ndarray) -> np.ndarray:
    return LinfJPEG(1.0, 1, 0.1).render(x, Latent(tf.constant(values, x.dtype))).numpy()


def test_transform_matches_scipy():
    blocks = np.random.default_rng(0).normal(size=(2, 3, 1, 8, 8))
    found = inverse_cosine_transform(tf.constant(blocks)).numpy()
    assert found.shape == (2, 24, 8)
    for image, row in np.ndindex(2, 3):
        expected = scipy.fft.idctn(blocks[image, row, 0], norm="ortho")
        np.testing.assert_allclose(found[image, 8 * row : 8 * row + 8], expected, atol=1e-12)


@hypothesis.given(size=st.sampled_from([0.0, 0.3, 3.0]), seed=st.integers(0, 2**31 - 1))
def test_matches_the_oracle(size, seed):
    x = images(batch=2, size=32, seed=seed, dtype=tf.float64)[:, :16]
    values = np.random.default_rng(seed).normal(0, size, (2, 768))
    expected = [jpeg.changed(255 * image, own) / 255 for image, own in zip(x.numpy(), values)]
    np.testing.assert_allclose(render(x, values), expected, atol=1e-5)


def test_unchanged_coefficients_give_the_image_back():
    """Where neighbours have the same colour; else luminance alone comes back, and the mean colour of four pixels."""
    coarse = tf.repeat(tf.repeat(images(size=8), 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(render(coarse, unchanged(batch=4)), coarse, atol=1e-5)
    x = greys(size=16)
    found = render(x, unchanged(batch=4))
    luma = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(found @ luma, x.numpy() @ luma, atol=1e-5)
    np.testing.assert_allclose(tf.nn.avg_pool2d(found, 2, 2, "VALID"), tf.nn.avg_pool2d(x, 2, 2, "VALID"), atol=1e-5)
    assert np.abs(found - x).max() > 0.01


def test_one_is_half_a_quantisation_step():
    """Of the mean of an 8 x 8 block of luminance: 16 / 2, of which a pixel gets an eighth, is one level."""
    values = unchanged()
    values[0, 0] = 1.0
    grey = tf.fill([1, 16, 16, 3], 0.5)
    difference = 255 * (render(grey, values) - 0.5)
    np.testing.assert_allclose(difference[0, :8, :8], 1.0, atol=1e-3)
    np.testing.assert_allclose(difference[0, 8:], 0.0, atol=1e-3)
    np.testing.assert_allclose(difference[0, :8, 8:], 0.0, atol=1e-3)


def reach(weights: np.ndarray, x: tf.Tensor) -> np.ndarray:
    """Of every coefficient, what one unit of it adds to a linear loss."""
    with tf.GradientTape() as tape:
        values = tf.zeros([len(x), 16 * 16 * 3 // 2])
        tape.watch(values)
        total = linear(weights)(LinfJPEG(1.0, 1, 0.1).render(x, Latent(values)))
    return tape.gradient(total, values).numpy().astype(np.float64)


def test_linf_finds_the_maximum_of_a_linear_loss():
    x, weights = greys(size=16), slope(size=16)
    attack = LinfJPEG(0.02, 20, 0.005)
    start = attack.start(x.shape, tf.constant(SEED))
    gain = linear(weights)(attack(x, linear(weights), start).images) - linear(weights)(render(x, unchanged(batch=4)))
    np.testing.assert_allclose(gain, 0.02 * np.abs(reach(weights, x)).sum(axis=1), rtol=1e-3)


def test_l2_finds_the_maximum_of_a_linear_loss():
    x, weights = greys(size=16), slope(size=16)
    attack = L2JPEG(0.5, 30, 0.1)
    start = attack.start(x.shape, tf.constant(SEED))
    gain = linear(weights)(attack(x, linear(weights), start).images) - linear(weights)(render(x, unchanged(batch=4)))
    np.testing.assert_allclose(gain, 0.5 * np.linalg.norm(reach(weights, x), axis=1), rtol=1e-3)


def test_l2_stays_in_its_ball_and_box():
    attack = L2JPEG(3.0, 1, 9.0)
    start = attack.start((40, 16, 16, 3), tf.constant(SEED)).moving
    lengths = np.linalg.norm(start, axis=1)
    assert 2.9 < lengths.mean() < 3.0 and lengths.max() <= 3.0 + 1e-6
    far = tf.one_hot(tf.range(40), start.shape[1]) * 50 + start
    projected = attack.project(Latent(far)).numpy()
    assert np.abs(projected).max() == 2.0 and np.linalg.norm(projected, axis=1).max() <= 3.0 + 1e-6


def test_l1_finds_the_maximum_of_a_linear_loss():
    """2 for the coefficients that add most, and half of it for the fourth."""
    x, weights = greys(size=16), slope(size=16)
    attack = L1JPEG(7.0, 3)
    start = attack.start(x.shape, tf.constant(SEED))
    gain = linear(weights)(attack(x, linear(weights), start).images) - linear(weights)(render(x, unchanged(batch=4)))
    largest = -np.sort(-np.abs(reach(weights, x)), axis=1)
    np.testing.assert_allclose(gain, largest[:, :4] @ [2, 2, 2, 1], rtol=1e-3)


@pytest.mark.parametrize("attack", [LinfJPEG(0.1, 1, 0.1), L1JPEG(0.1, 1)])
@pytest.mark.parametrize("height, width", [(24, 16), (16, 8), (28, 28)])
def test_sizes(attack, height, width):
    message = f"JPEG needs images whose height and width are multiples of 16. Received: {height}x{width}"
    with pytest.raises(ValueError) as error:
        attack.start((1, height, width, 3), tf.constant(SEED))
    assert str(error.value) == message
    with pytest.raises(ValueError) as error:
        attack(tf.zeros((1, height, width, 3)), linear(slope(size=1)), Latent(tf.zeros((1, 8))))
    assert str(error.value) == message


def test_starts_are_uniform():
    linf = LinfJPEG(0.5, 1, 0.1).start((40, 16, 16, 3), tf.constant(SEED)).moving.numpy()
    shares, _ = np.histogram(linf, 10, (-0.5, 0.5))
    np.testing.assert_allclose(shares / linf.size, 0.1, atol=0.01)
    # Uniform in a ball of 384 dimensions: almost all points lie near its surface, half of each kind of sign.
    l1 = L1JPEG(3.0, 1).start((40, 16, 16, 3), tf.constant(SEED)).moving.numpy()
    norms = np.abs(l1).sum(axis=1)
    assert 2.95 < norms.mean() < 3.0 and norms.max() <= 3.0 + 1e-6
    assert abs(np.sign(l1).mean()) < 0.03
