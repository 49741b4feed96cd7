"""What holds for every attack on latent variables."""

import re
from collections.abc import Callable

import hypothesis
import keras
import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.base import Loss
from acl_tf.attacks.unforeseen.elastic import ElasticAttack
from acl_tf.attacks.unforeseen.fog import FogAttack
from acl_tf.attacks.unforeseen.frank_wolfe import L1FrankWolfe
from acl_tf.attacks.unforeseen.gabor import GaborAttack
from acl_tf.attacks.unforeseen.jpeg import L1JPEG, LinfJPEG
from acl_tf.attacks.unforeseen.latent import Latent, LatentAttack, convolved
from acl_tf.attacks.unforeseen.snow import BUDGET, SnowAttack
from acl_tf.losses.cross_entropy import cross_entropy
from tests.attacks.scenes import SEED, images, linear, slope

# From epsilon, step size and steps.
ATTACKS: dict[str, Callable[[float, float, int], LatentAttack]] = {
    "l1": lambda epsilon, _, steps: L1FrankWolfe(epsilon, steps),
    "jpeg_linf": lambda epsilon, step_size, steps: LinfJPEG(epsilon, steps, step_size),
    "jpeg_l1": lambda epsilon, _, steps: L1JPEG(epsilon, steps),
    "elastic": lambda epsilon, step_size, steps: ElasticAttack(epsilon, steps, step_size),
    "fog": lambda epsilon, step_size, steps: FogAttack(epsilon, steps, step_size),
    "snow": lambda epsilon, step_size, steps: SnowAttack(epsilon, steps, step_size),
    "gabor": lambda epsilon, step_size, steps: GaborAttack(epsilon, steps, step_size),
}
# Strong enough to change images of 16 pixels, not so strong that nothing is left to climb.
EPSILONS = {"l1": 3.0, "jpeg_linf": 0.3, "jpeg_l1": 20.0, "elastic": 2.0, "fog": 0.5, "snow": 0.2, "gabor": 0.1}
every_attack = pytest.mark.parametrize("name", ATTACKS)
SIDE = 16


def make(name: str, steps: int = 3, step_size: float = 0.05) -> LatentAttack:
    return ATTACKS[name](EPSILONS[name], step_size, steps)


def curved(seed: int = 0) -> Loss:
    weights = slope(seed, SIDE)
    return lambda x: tf.reduce_sum(tf.sin(3 * x) * tf.cast(weights, x.dtype), axis=(1, 2, 3))


def network() -> Loss:
    """Of a small convolutional network with fixed weights."""
    random = keras.initializers.HeNormal(seed=1)
    layers = [
        keras.Input((SIDE, SIDE, 3)),
        keras.layers.Conv2D(8, 3, 2, activation="relu", kernel_initializer=random),
        keras.layers.Conv2D(8, 3, 2, activation="relu", kernel_initializer=random),
        keras.layers.Flatten(),
        keras.layers.Dense(4, kernel_initializer=random),
    ]
    model = keras.Sequential(layers)
    return lambda x: cross_entropy(model(x), tf.zeros(len(x), tf.int32))


def run(attack: LatentAttack, x: tf.Tensor, loss: Loss, seed: tuple[int, int] = SEED) -> tuple[Latent, tf.Tensor]:
    """Returns the last latent variables that were rendered, and the result."""
    seen = []
    render = attack.render
    attack.render = lambda x, latent: seen.append(latent) or render(x, latent)
    result = attack(x, loss, attack.start(x.shape, tf.constant(seed), x.dtype))
    return seen[-1], result


def assert_inside(name: str, latent: Latent, epsilon: float) -> None:
    """What each attack's variables may be."""
    moving = np.asarray(latent.moving, np.float64)
    flat = moving.reshape(len(moving), -1)
    slack = 1e-5 * max(1, epsilon)
    if name in ("l1", "jpeg_l1"):
        assert np.abs(flat).sum(axis=1).max() <= epsilon + slack
    if name in ("jpeg_linf", "elastic"):
        assert np.abs(flat).max() <= epsilon + slack
    if name == "jpeg_l1":
        assert np.abs(flat).max() <= 2 + 1e-6
    if name in ("fog", "snow"):
        assert flat.min() >= 0 and flat.max() <= 1
    if name == "snow":
        assert moving.mean(axis=(1, 2)).max() <= BUDGET + 1e-6  # 4 x 4 flakes are one region
    if name == "gabor":
        assert np.abs(flat).max() <= 1
        assert np.all((moving == 0) | (latent.still[0] == 1))


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    name=st.sampled_from(list(ATTACKS)),
    epsilon=st.sampled_from([0.0, 1e-3, 0.3, 2.0, 50.0]),
    step_size=st.floats(0, 3),
    steps=st.integers(0, 2),
    shape=st.sampled_from([(16, 16), (32, 16)]),
    dtype=st.sampled_from([tf.float32, tf.float64]),
    seed=st.integers(0, 2**31 - 1),
)
def test_variables_and_images_stay_where_they_must(name, epsilon, step_size, steps, shape, dtype, seed):
    x = images(batch=2, size=32, seed=seed, dtype=dtype)[:, : shape[0], : shape[1]]
    loss = linear(slope(seed, 32)[: shape[0], : shape[1]])
    latent, result = run(ATTACKS[name](epsilon, step_size, steps), x, loss, (seed, 0))
    assert_inside(name, latent, epsilon)
    assert result.images.shape == x.shape and result.images.dtype == dtype
    assert np.min(result.images) >= 0 and np.max(result.images) <= 1
    assert result.losses.shape == (steps,) and result.losses.dtype == dtype
    assert np.all(np.isfinite(result.losses))


@every_attack
def test_starts_stay_there_too(name):
    attack = make(name)
    assert_inside(name, attack.start((8, SIDE, SIDE, 3), tf.constant(SEED)), EPSILONS[name])


@every_attack
def test_the_loss_is_raised(name):
    x = images(batch=8, size=SIDE, seed=1)
    for loss in (curved(), network()):
        attack = make(name, steps=12)
        start = attack.start(x.shape, tf.constant(SEED))
        found = attack(x, loss, start)
        before, after = np.array(loss(attack.render(x, start))), np.array(loss(found.images))
        assert after.mean() > before.mean() + 1e-3 and np.mean(after >= before) >= 0.75
        np.testing.assert_allclose(found.losses[0], before.mean(), rtol=1e-4)


@every_attack
def test_result_depends_on_the_seed_alone(name):
    x = images(size=SIDE)
    results = [run(make(name), x, curved(), seed)[1].images for seed in (SEED, SEED, (3, 15))]
    np.testing.assert_array_equal(results[0], results[1])
    # The first step of Frank–Wolfe leaves the start, and gradients of the next do not depend on it.
    assert name == "l1" or not np.allclose(results[0], results[2], atol=1e-3)


@every_attack
def test_an_image_is_attacked_alike_in_every_batch(name):
    x, attack = images(batch=3, size=SIDE), make(name)
    start = attack.start(x.shape, tf.constant(SEED))
    together = attack(x, curved(), start).images
    for index in range(3):
        own = tf.nest.map_structure(lambda value, index=index: value[index : index + 1], start)
        np.testing.assert_allclose(attack(x[index : index + 1], curved(), own).images[0], together[index], atol=2e-5)


@every_attack
def test_a_function_gives_the_same(name):
    """Also where the batch is not known."""
    x, attack = images(batch=2, size=SIDE), make(name)

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3])])
    def attacked(x: tf.Tensor) -> tf.Tensor:
        start = attack.start((tf.shape(x)[0], *x.shape[1:]), tf.constant(SEED), x.dtype)
        return attack(x, curved(), start).images

    np.testing.assert_allclose(attacked(x), run(make(name), x, curved())[1].images, atol=2e-5)


@every_attack
def test_without_steps_it_is_the_start(name):
    x, attack = images(size=SIDE), make(name, steps=0)
    start = attack.start(x.shape, tf.constant(SEED))
    result = attack(x, curved(), start)
    np.testing.assert_array_equal(result.images, attack.render(x, start))
    assert result.losses.shape == (0,)


@every_attack
def test_a_model_in_mixed_precision(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    x = images(size=SIDE)
    found, losses = run(make(name), x, network())[1]
    assert found.dtype == losses.dtype == tf.float32 and np.all(np.isfinite(found))


def test_a_step_is_along_the_sign():
    attack = LatentAttack(0.3, 1, 0.2)
    moving = tf.constant([[0.0, 0.25, -0.1]])
    stepped = attack.step(moving, tf.constant([[-3.0, 1e-9, 0.0]]), tf.constant(0), moving)
    np.testing.assert_allclose(stepped, [[-0.2, 0.45, -0.1]])
    np.testing.assert_allclose(attack.project(Latent(stepped)), [[-0.2, 0.3, -0.1]])


def test_convolved_with_a_kernel_for_each_image_and_channel():
    random = np.random.default_rng(0)
    fields, kernels = random.normal(size=(3, 7, 6, 2)), random.normal(size=(3, 5, 3, 2))
    found = convolved(tf.constant(fields), tf.constant(kernels))
    for image, channel in np.ndindex(3, 2):
        expected = scipy.signal.correlate2d(fields[image, :, :, channel], kernels[image, :, :, channel], "same")
        np.testing.assert_allclose(found[image, :, :, channel], expected, atol=1e-12)


# What cannot be attacked


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["epsilon", "steps", "step_size"])
def test_numbers(name, value):
    with pytest.raises(ValueError) as error:
        LatentAttack(**{"epsilon": 0.1, "steps": 1, "step_size": 0.1, name: value})
    expected = "must not be negative" if value < 0 else "must be finite"
    assert str(error.value) == f"`{name}` {expected}. Received: {name}={value}"


@every_attack
def test_images_out_of_range(name):
    attack, x = make(name), images(size=SIDE)
    start = attack.start(x.shape, tf.constant(SEED))
    with pytest.raises(ValueError, match=re.escape("Images must lie in [0, 1]. Received: values from 0.0 to 2.0")):
        attack(2 * x, curved(), start)
    with pytest.raises(ValueError, match=r"Images must be floating point.* Received: images.dtype=uint8"):
        attack(tf.cast(x, tf.uint8), curved(), start)
