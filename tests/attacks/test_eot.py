import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.eot import with_eot
from acl_tf.attacks.pgd import FGSM, PGD
from acl_tf.attacks.restarts import worst_of
from tests.attacks.scenes import images, linear, loss, run, slope

DRAWS = 5


def gradient_of_a_random_loss(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Losses and gradients of the sum of each image, times a random number; and the numbers that were drawn."""
    drawn = []

    def random_loss(y: tf.Tensor) -> tf.Tensor:
        drawn.append(tf.random.uniform([], 0.5, 1.5))
        return drawn[-1] * tf.reduce_sum(y, axis=(1, 2, 3))

    values, gradient = with_eot(PGD(0.1, 0.1, 1), DRAWS).gradient(random_loss, x)
    return values, gradient, tf.stack(drawn)


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function, lambda f: tf.function(f, jit_compile=True)])
def test_takes_the_mean_over_different_draws(wrap):
    x, function = images(), wrap(gradient_of_a_random_loss)
    seen = []
    for _ in range(2):
        values, gradient, drawn = function(x)
        np.testing.assert_allclose(gradient, np.full(x.shape, np.mean(drawn)), rtol=1e-5)
        np.testing.assert_allclose(values, np.mean(drawn) * np.sum(x, axis=(1, 2, 3)), rtol=1e-5)
        seen.extend(drawn.numpy())
    assert len(set(seen)) == 2 * DRAWS


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_a_layer_of_keras_drops_other_pixels_at_every_draw(wrap):
    """Dropout of one half gives each pixel a gradient of 0 or 2; means over several draws lie between."""
    dropout, attack = keras.layers.Dropout(0.5), with_eot(PGD(0.1, 0.1, 1), DRAWS)
    gradient_of = wrap(
        lambda x: attack.gradient(lambda y: tf.reduce_sum(dropout(y, training=True), axis=(1, 2, 3)), x)[1]
    )
    levels = np.unique(gradient_of(images(batch=8)).numpy().round(4))
    np.testing.assert_allclose(levels, np.arange(DRAWS + 1) * 2 / DRAWS, atol=1e-4)


def test_finds_the_direction_under_noise():
    x, weights = images(), slope()

    def noisy(y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(y * (weights + 2 * tf.random.normal(x.shape)), axis=(1, 2, 3))

    tf.random.set_seed(0)
    gain = {
        draws: np.mean(linear(weights)(run(with_eot(FGSM(0.1), draws), x, noisy).images) - linear(weights)(x))
        for draws in (1, 64)
    }
    assert gain[64] > 1.5 * gain[1] > 0


@pytest.mark.parametrize(
    "attack", [PGD(0.2, 0.05, 3, momentum=0.9), PGD(1.0, 0.3, 3, norm="l2"), PGD(2.0, 0.5, 3, norm="l1")]
)
def test_without_noise_it_is_the_attack_that_it_wraps(attack):
    x = images()
    cross_entropy = loss("cross_entropy", x)
    for name in ("epsilon", "step_size", "steps", "momentum"):
        assert getattr(with_eot(attack, 3), name) == getattr(attack, name)
    wrapped, plain = run(with_eot(attack, 3), x, cross_entropy), run(attack, x, cross_entropy)
    np.testing.assert_allclose(wrapped.images, plain.images, atol=1e-5)
    np.testing.assert_allclose(wrapped.losses, plain.losses, rtol=1e-5)


def test_restarts_of_it():
    x = images()
    attack = with_eot(PGD(1.0, 0.3, 2, norm="l2"), 2)
    starts = [attack.start(x.shape, tf.constant((0, number))) for number in range(2)]
    assert worst_of(attack, x, linear(slope()), starts).losses.shape == (2, 2)
