"""The noise of smoothed classifiers, and what they say of images."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from acl_tf.classifiers.smoothed import (
    ATTACK,
    ESTIMATION,
    SELECTION,
    VOTE,
    SmoothedClassifier,
    gaussian_noise,
    noise_seed,
    seeds_of_images,
)
from acl_tf.randomness import fold_in, step_seed
from tests.evaluate.scenes import classifier, noise, random_weights, scores

SEED = tf.constant([3, 14], tf.int32)
SIGMA = 0.25


def linear(samples: int = 100, seed: int = 0, sigma: float = SIGMA) -> SmoothedClassifier:
    return SmoothedClassifier(functools.partial(classifier(random_weights()), training=False), sigma, samples, seed)


def images(count: int = 6) -> tf.Tensor:
    return tf.constant(noise(random_weights(), count).images / np.float32(255))


# The noise


@pytest.mark.parametrize("shape", [(4, 4, 3), (5, 5, 3), (7,)])
def test_a_draw_does_not_depend_on_how_many_are_asked_for(shape):
    whole = gaussian_noise(SEED, 0, 100, shape)
    for first, draws in ((0, 1), (0, 30), (30, 50), (99, 1)):
        np.testing.assert_array_equal(gaussian_noise(SEED, first, draws, shape), whole[first : first + draws])


def test_in_a_graph_the_first_draw_may_be_a_tensor():
    draw = tf.function(lambda first: gaussian_noise(SEED, first, 3, (4, 4, 3)))
    for first in (0, 5, 2**30):
        np.testing.assert_array_equal(draw(tf.constant(first)), gaussian_noise(SEED, first, 3, (4, 4, 3)))


def test_draws_differ_and_are_normal():
    draws = gaussian_noise(SEED, 0, 2000, (5, 5, 3)).numpy().reshape(2000, -1)
    assert len(np.unique(draws)) > 0.99 * draws.size
    assert stats.kstest(draws.ravel(), "norm").pvalue > 0.001
    assert np.abs(draws.mean(axis=0)).max() < 5 / np.sqrt(2000) and np.abs(draws.std(axis=0) - 1).max() < 0.1
    assert np.abs(np.corrcoef(draws[:50]) - np.eye(50)).max() < 0.6
    assert np.abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 0.02


def test_far_draws_are_new_ones():
    near, far = (gaussian_noise(SEED, first, 100, (32, 32, 3)).numpy() for first in (0, 100_000))
    assert not np.intersect1d(near, far).size > 0.01 * near.size


def test_seeds_differ_between_seeds_uses_and_images():
    seeds = {
        tuple(seed)
        for number in range(3)
        for use in (ATTACK, VOTE, SELECTION, ESTIMATION)
        for seed in linear(seed=number).seeds(use, tf.range(50)).numpy()
    }
    starts = {tuple(fold_in(step_seed(number, 0), index).numpy()) for number in range(3) for index in range(50)}
    assert len(seeds) == 3 * 4 * 50 and not seeds & starts
    assert len({seed[0] for seed in seeds}) == 3 * 4


def test_seeds_of_images_are_those_of_single_ones():
    expected = [fold_in(noise_seed(7, VOTE), index) for index in (4, 0, 9)]
    np.testing.assert_array_equal(seeds_of_images(noise_seed(7, VOTE), tf.constant([4, 0, 9], tf.int64)), expected)


# Votes


def expected_votes(model: SmoothedClassifier, batch: tf.Tensor, seeds: tf.Tensor) -> np.ndarray:
    """One draw after the other; nothing is clipped."""
    counts = np.zeros((len(batch), 2), int)
    for row, image in enumerate(batch):
        for draw in gaussian_noise(seeds[row], 0, model.samples, image.shape).numpy():
            noisy = image.numpy().astype(np.float64) + model.sigma * draw
            counts[row, int(((noisy - 0.5) * random_weights()).sum() > 0)] += 1
    return counts


def test_votes_are_those_of_the_noisy_images():
    model, batch = linear(), images()
    seeds = model.seeds(VOTE, tf.range(6))
    votes = model.vote(batch, seeds)
    np.testing.assert_array_equal(votes, expected_votes(model, batch, seeds))
    np.testing.assert_array_equal(tf.function(model.vote)(batch, seeds), votes)
    assert votes.numpy().min() > 0


def test_noisy_images_are_not_clipped():
    """Of white images the noise that clipping would cut off leads half of all draws below the mean."""
    seen = []

    def model(noisy: tf.Tensor) -> tf.Tensor:
        seen.append(noisy.numpy())
        return tf.zeros([len(noisy), 2])

    white = tf.ones([2, 4, 4, 3])
    smoothed = SmoothedClassifier(model, SIGMA, 50)
    smoothed.vote(white, smoothed.seeds(VOTE, tf.range(2)))
    smoothed(white)
    for noisy in seen[1:]:  # the first asks for the number of classes
        assert noisy.max() > 1 + SIGMA and np.mean(noisy > 1) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("at_once", [1, 7, 100, 256])
def test_counts_do_not_depend_on_how_many_draws_pass_at_once(at_once):
    model, (image, *_) = linear(), images()
    count = tf.function(lambda first, end: model.count(image, SEED, first, end, at_once, 2))
    whole = model.count(image, SEED, 0, 100, 50, 2)
    assert sum(whole) == 100 and min(whole) > 0
    np.testing.assert_array_equal(count(0, 100), whole)
    np.testing.assert_array_equal(count(0, 33) + count(33, 100), whole)
    assert sum(count(5, 5)) == 0


def test_votes_of_more_draws_than_pass_at_once(monkeypatch):
    model, batch = linear(), images(2)
    seeds = model.seeds(VOTE, tf.range(2))
    votes = model.vote(batch, seeds)
    monkeypatch.setattr("acl_tf.classifiers.smoothed.DRAWS_AT_ONCE", 7)
    np.testing.assert_array_equal(model.vote(batch, seeds), votes)


def test_the_share_of_votes_is_the_probability():
    model, batch = linear(20_000), images(3)
    votes = model.vote(batch, model.seeds(VOTE, tf.range(3))).numpy()
    margins = scores(random_weights(), noise(random_weights(), 3).images)
    probabilities = stats.norm.cdf(margins / (SIGMA * np.linalg.norm(random_weights())))
    np.testing.assert_allclose(votes[:, 1] / 20_000, probabilities, atol=5 * 0.5 / np.sqrt(20_000))


# The soft classifier


def test_seeded_is_the_logarithm_of_the_mean_softmax():
    model, batch = linear(8), images()
    seeds = model.seeds(VOTE, tf.range(6))
    found = model.seeded(batch, seeds)
    for row in range(6):
        noisy = batch[row] + SIGMA * gaussian_noise(seeds[row], 0, 8, (4, 4, 3))
        mean = tf.reduce_mean(tf.nn.softmax(model.classifier(noisy)), axis=0)
        np.testing.assert_allclose(found[row], tf.math.log(mean), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(found), -1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found, model.seeded(batch, seeds))


def test_an_image_is_seeded_alone():
    model, batch = linear(8), images()
    seeds = model.seeds(VOTE, tf.range(6))
    np.testing.assert_allclose(model.seeded(batch[4:], seeds[4:]), model.seeded(batch, seeds)[4:], rtol=1e-5, atol=1e-6)


def test_gradients_pass_and_are_those_of_the_mean():
    model, batch = linear(5), images()
    seeds = model.seeds(VOTE, tf.range(6))
    with tf.GradientTape() as tape:
        tape.watch(batch)
        value = tf.reduce_sum(model.seeded(batch, seeds)[:, 1])
    gradient = tape.gradient(value, batch).numpy()
    assert np.abs(gradient).min(axis=(1, 2, 3)).max() > 0
    step = 1e-4
    moved = batch + step * np.sign(gradient)
    rise = float(tf.reduce_sum(model.seeded(moved, seeds)[:, 1]) - value)
    assert rise == pytest.approx(step * np.abs(gradient).sum(), rel=0.02)


def test_another_call_draws_other_noise():
    model, batch = linear(3), images()
    one, two = model(batch), model(batch)
    assert np.abs(one - two).max(axis=1).min() > 0
    again = linear(3)
    np.testing.assert_array_equal(again(batch), one)
    np.testing.assert_array_equal(again(batch), two)
    assert not np.array_equal(linear(3, seed=1)(batch), one)


def test_in_a_loop_of_a_graph_too():
    model, batch = linear(3), images(2)

    @tf.function
    def several() -> tf.Tensor:
        found = tf.TensorArray(tf.float32, 4)
        for number in tf.range(4):
            found = found.write(number, model(batch))
        return found.stack()

    found = several().numpy()
    assert len(np.unique(found[:, 0, 0])) == 4


def test_for_images_depends_on_the_index_and_not_on_the_place():
    model, batch = linear(3), images()
    whole = model.for_images(tf.range(6))
    first, second = whole(batch), whole(batch)
    part = model.for_images(tf.constant([4, 2]))
    rows = tf.gather(batch, [4, 2])
    np.testing.assert_allclose(part(rows), tf.gather(first, [4, 2]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(part(rows), tf.gather(second, [4, 2]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_logits_of_other_precisions(dtype):
    model = SmoothedClassifier(lambda x: tf.cast(tf.reshape(x, [-1, 48])[:, :3], dtype), SIGMA, 4)
    batch = images()
    found = model(batch)
    assert found.dtype == (tf.float64 if dtype == "float64" else tf.float32)
    assert np.isfinite(found).all()
    assert model.vote(batch, model.seeds(VOTE, tf.range(6))).shape == (6, 3)


def test_batch_normalisation_stays_in_inference_mode():
    inputs = keras.Input((4, 4, 3))
    normalised = keras.layers.BatchNormalization()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(normalised)))
    before = [weight.numpy() for weight in model.weights]
    SmoothedClassifier(functools.partial(model, training=False), SIGMA, 4)(images())
    assert all(np.array_equal(weight, old) for weight, old in zip(model.weights, before, strict=True))


@pytest.mark.parametrize(
    "arguments, received",
    [
        ({"sigma": 0.0}, "`sigma` must be positive. Received: sigma=0.0"),
        ({"sigma": float("nan")}, "`sigma` must be positive. Received: sigma=nan"),
        ({"sigma": 0.1, "samples": 0}, "`samples` must be positive. Received: samples=0"),
    ],
)
def test_what_is_no_noise(arguments, received):
    with pytest.raises(ValueError) as error:
        SmoothedClassifier(lambda images: images, **arguments)
    assert str(error.value) == received
