import hypothesis
import numpy as np
import scipy.optimize
import scipy.signal
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.unforeseen.latent import Latent
from acl_tf.attacks.unforeseen.snow import SnowAttack, flake_shapes, scattered, streak, within_budget
from tests.attacks.scenes import SEED, images


def lowered(values: np.ndarray) -> np.ndarray:
    """The nearest values of one region whose mean is 0.2, by root finding; as they are where it is less."""
    if np.clip(values, 1e-9, 1).mean() <= 0.2:
        return np.clip(values, 1e-9, 1)
    amount = scipy.optimize.brentq(lambda a: np.clip(values - a, 1e-9, 1).mean() - 0.2, 0, values.max())
    return np.clip(values - amount, 1e-9, 1)


@hypothesis.given(
    rows=st.integers(1, 18), columns=st.integers(1, 18), scale=st.floats(0.01, 3), seed=st.integers(0, 2**31 - 1)
)
def test_budget_matches_the_oracle(rows, columns, scale, seed):
    values = scale * np.random.default_rng(seed).uniform(-0.2, 1, (2, rows, columns, 2))
    found = within_budget(tf.constant(values)).numpy()
    for image, kind in np.ndindex(2, 2):
        for row in range(0, rows, 8):
            for column in range(0, columns, 8):
                here = image, slice(row, row + 8), slice(column, column + 8), kind
                np.testing.assert_allclose(found[here], lowered(values[here]), atol=1e-6)


def test_flakes_lie_where_they_should():
    """Four kinds beside one another in the first row of a square of 4 x 4, three below its corner."""
    intensities = np.random.default_rng(0).random((2, 2, 3, 7))
    expected = np.zeros((2, 8, 12, 7))
    for kind in range(4):
        expected[:, ::4, kind::4, kind] = intensities[..., kind]
    for kind in range(4, 7):
        expected[:, kind - 3 :: 4, ::4, kind] = intensities[..., kind]
    np.testing.assert_array_equal(scattered(tf.constant(intensities)), expected)


def test_a_streak_by_hand():
    """From 3 pixels left and 1 above the centre to the opposite point, 3 wide were it a diagonal."""
    rows, columns = np.mgrid[-4:5, -4:5].astype("float32")
    found = streak(*map(tf.constant, (rows, columns)), *map(tf.constant, (1.0, 3.0, 3.0))).numpy()
    half = 3 * np.sqrt(4 / 3) / 4
    expected = np.clip(1 + half - np.abs(rows - columns / 3), 0, 1) * (np.abs(columns) <= 3)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[4, 4] == 1 and found[:, 0].max() == 0


def test_flakes_are_streaks_through_the_centre():
    shapes = flake_shapes(200, tf.constant(SEED), tf.float64).numpy()
    assert shapes.shape == (200, 13, 13, 7)
    np.testing.assert_allclose(shapes, shapes[:, ::-1, ::-1], atol=1e-12)
    assert shapes.min() >= 0 and shapes.max() <= 1 + 1e-12
    np.testing.assert_allclose(shapes[:, 6, 6], shapes.max(axis=(1, 2)), atol=0.12)
    # All flakes of an image fall to the same side: the mass of the two diagonal quadrants outweighs the others'.
    side = np.sign(shapes[:, 7:, 7:].sum(axis=(1, 2)) - shapes[:, 7:, :6].sum(axis=(1, 2)))
    assert np.all(side == side[:, :1])
    assert 0.35 < np.mean(side[:, 0] > 0) < 0.65
    # Thin ones are more frequent than thick ones, and shapes differ.
    mass = shapes.sum(axis=(1, 2)).ravel()
    assert np.median(mass) < mass.mean() and len(np.unique(mass.round(6))) > 500


def test_images_in_snow():
    """Paler, with brighter flakes on top."""
    x = images(batch=2, size=10, dtype=tf.float64)
    attack = SnowAttack(0.7, 1, 0.1)
    start = attack.start(x.shape, tf.constant(SEED), tf.float64)
    assert start.moving.shape == (2, 3, 3, 7)
    flakes, kernels = scattered(start.moving**4).numpy()[:, :10, :10], start.still[0].numpy()
    for index, image in enumerate(x.numpy()):
        snow = sum(scipy.signal.correlate2d(flakes[index, ..., k], kernels[index, ..., k], "same") for k in range(7))
        grey = (image @ [0.2126, 0.7152, 0.0722])[..., np.newaxis]
        pale = 0.75 * image + 0.25 * np.maximum(image, 1.5 * grey + 0.5)
        expected = np.clip(pale + 0.7 * snow[..., np.newaxis], 0, 1)
        np.testing.assert_allclose(attack.render(x, start)[index], expected, atol=1e-9)


def test_start_has_few_bright_flakes():
    """Intensities are log-uniform from exp(-5) to 1, but for what the budget takes."""
    start = SnowAttack(1.0, 1, 0.1).start((40, 32, 32, 3), tf.constant(SEED)).moving.numpy()
    assert start.shape == (40, 8, 8, 7)
    assert start.mean(axis=(1, 2)).max() <= 0.2 + 1e-6
    assert abs(np.mean(start < np.exp(-2.5)) - 0.5) < 0.03


def test_an_image_without_flakes():
    x = images(batch=1, size=8)
    attack = SnowAttack(5.0, 1, 0.1)
    start = attack.start(x.shape, tf.constant(SEED))
    none = attack.render(x, Latent(tf.zeros_like(start.moving), start.still))
    np.testing.assert_allclose(none, SnowAttack(0.0, 1, 0.1).render(x, start), atol=1e-6)
