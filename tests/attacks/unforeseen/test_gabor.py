import numpy as np
import tensorflow as tf

from acl_tf.attacks.unforeseen.gabor import GaborAttack, full_contrast, gabor_kernels
from acl_tf.attacks.unforeseen.latent import convolved
from acl_tf.randomness import fold_in
from tests.attacks.scenes import SEED, images


def test_kernels_match_the_formula():
    """A Gaussian of waves in equally spaced directions, in coordinates from -1/2 to 1/2."""
    found = gabor_kernels(20, tf.constant(SEED), tf.float64).numpy()
    draws = [
        tf.random.stateless_uniform((20, 1, 1, 1), fold_in(tf.constant(SEED), number), dtype=tf.float64).numpy().ravel()
        for number in range(4)
    ]
    y, x = np.meshgrid(np.linspace(-0.5, 0.5, 23), np.linspace(-0.5, 0.5, 23), indexing="ij")
    for index, (count, width, frequency, first) in enumerate(zip(*draws)):
        count, sigma = 1 + int(10 * count), 0.1 + 0.3 * width
        waves = 3 + (23 / 4 - 3) * frequency
        expected = np.zeros((23, 23))
        for order in range(count):
            angle = np.pi * first + np.pi * order / count
            along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
            envelope = np.exp(-0.5 * (along**2 + across**2) / sigma**2)
            expected += envelope * np.cos(2 * np.pi * waves * along)
        np.testing.assert_allclose(found[index, :, :, 0], expected, atol=1e-9)


def test_every_number_of_directions_occurs():
    centers = gabor_kernels(300, tf.constant(SEED), tf.float32).numpy()[:, 11, 11, 0]
    assert set(centers.round(4)) == set(range(1, 11))


def test_contrast_matches_the_published_formula():
    noise = np.random.default_rng(0).normal(size=(3, 9, 9, 1))
    found = full_contrast(tf.constant(noise)).numpy()
    for index, own in enumerate(noise):
        mean = own.mean()
        contrast = np.abs(own - mean) / np.abs(own - mean).max()
        raised = mean + (own - mean) * 1.001 / (0.001 + contrast)
        np.testing.assert_allclose(found[index], (raised - raised.min()) / (raised.max() - raised.min()), atol=1e-9)
    # Almost black and white, as only what hardly differs from the mean is in between.
    assert np.mean((found < 0.05) | (found > 0.95)) > 0.9
    np.testing.assert_array_equal(full_contrast(tf.zeros((1, 4, 4, 1))), np.zeros((1, 4, 4, 1)))


def test_gradients_take_contrasts_for_constants():
    noise = tf.constant(np.random.default_rng(1).normal(size=(1, 5, 5, 1)))
    with tf.GradientTape() as tape:
        tape.watch(noise)
        total = tf.reduce_sum(full_contrast(noise))
    contrast = np.abs(noise - np.mean(noise))
    slope = 1.001 / (0.001 + contrast / contrast.max())
    raised = (noise - np.mean(noise)) * slope
    np.testing.assert_allclose(tape.gradient(total, noise), slope / np.ptp(raised), rtol=1e-9)


def test_images_with_noise():
    x, attack = images(batch=3, size=24), GaborAttack(0.2, 1, 0.1)
    start = attack.start(x.shape, tf.constant(SEED))
    noise = full_contrast(convolved(start.moving, start.still[1])).numpy()
    np.testing.assert_allclose(noise.min(axis=(1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(noise.max(axis=(1, 2)), 1, atol=1e-6)
    found = attack.render(x, start)
    np.testing.assert_allclose(found, np.clip(x + 0.2 * noise, 0, 1), atol=1e-5)
    np.testing.assert_allclose(GaborAttack(0.0, 1).render(x, start), x, atol=1e-7)


def test_one_place_in_fourteen_has_a_weight():
    start = GaborAttack(0.2, 1, 0.1).start((50, 32, 32, 3), tf.constant(SEED))
    mask, weights = start.still[0].numpy(), start.moving.numpy()
    assert abs(mask.mean() - 1 / 14) < 0.003
    np.testing.assert_array_equal(weights != 0, mask == 1)
    shares, _ = np.histogram(weights[mask == 1], 4, (-1, 1))
    np.testing.assert_allclose(shares / mask.sum(), 0.25, atol=0.03)


def test_only_these_places_get_others():
    attack = GaborAttack(0.2, 1, 0.5)
    start = attack.start((2, 16, 16, 3), tf.constant(SEED))
    moved = attack.project(start._replace(moving=start.moving + 0.6)).numpy()
    np.testing.assert_allclose(moved, np.minimum(start.moving + 0.6, 1) * start.still[0], atol=1e-6)
