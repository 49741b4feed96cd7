import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.losses.nt_xent import nt_xent
from tests.conftest import shared
from tests.reference import nt_xent as reference

temperatures = st.sampled_from([0.1, 0.5, 1.0])
seeds = st.integers(0, 2**32 - 1)


def noise(batch: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    z_i, z_j = np.random.default_rng(seed).normal(size=(2, batch, dim))
    return z_i, z_j


@hypothesis.given(batch=st.integers(1, 9), dim=st.integers(1, 17), temperature=temperatures, seed=seeds)
def test_matches_the_oracle(batch, dim, temperature, seed):
    z_i, z_j = noise(batch, dim, seed)
    losses = nt_xent(tf.constant(z_i), tf.constant(z_j), temperature=temperature)
    assert losses.shape == (2 * batch,)
    np.testing.assert_allclose(losses, reference.nt_xent(z_i, z_j, temperature=temperature), rtol=1e-9, atol=1e-12)


@hypothesis.given(
    views=st.integers(2, 4), batch=st.integers(1, 5), dim=st.integers(2, 9), temperature=temperatures, seed=seeds
)
def test_any_number_of_views_matches_the_oracle(views, batch, dim, temperature, seed):
    z = np.random.default_rng(seed).normal(size=(views, batch, dim))
    for stop_second in (False, True):
        losses = nt_xent(*map(tf.constant, z), temperature=temperature, stop_second=stop_second)
        assert losses.shape == (views * batch,)
        np.testing.assert_allclose(losses, reference.nt_xent(*z, temperature=temperature), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("views", [2, 3])
def test_a_stopped_second_factor_has_no_gradient(views):
    z = list(map(tf.constant, np.random.default_rng(0).normal(size=(views, 4, 5))))
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = tf.reduce_sum(nt_xent(*z, temperature=0.3, stop_second=True))
    expected = reference.gradients_with_constant_seconds(*z, temperature=0.3)
    for gradient, right in zip(tape.gradient(loss, z), expected, strict=True):
        np.testing.assert_allclose(gradient, right, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name, views", [("two", "12"), ("three", "123")])
def test_matches_the_published_code_of_rocl(name, views):
    with np.load(shared("parity", "rocl.npz")) as arrays:
        rocl = {key.removeprefix("nt_xent/"): arrays[key] for key in arrays if key.startswith("nt_xent/")}
    z = [tf.constant(rocl[f"z_{view}"]) for view in views]
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = tf.reduce_mean(nt_xent(*z, stop_second=True))
    np.testing.assert_allclose(loss, rocl[f"{name}/loss"], rtol=1e-5)
    for gradient, view in zip(tape.gradient(loss, z), views, strict=True):
        expected = rocl[f"{name}/grad_{view}"]
        assert np.linalg.norm(gradient - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("count", [0, 1])
def test_there_must_be_two_views(count):
    with pytest.raises(ValueError) as error:
        nt_xent(*[tf.eye(2)] * count)
    assert str(error.value) == f"`nt_xent` compares two or more views. Received: {count}"


def test_matches_the_published_code(parity):
    z_i, z_j = tf.constant(parity["nt_xent/z_i"]), tf.constant(parity["nt_xent/z_j"])
    with tf.GradientTape() as tape:
        tape.watch([z_i, z_j])
        loss = tf.reduce_mean(nt_xent(z_i, z_j))
    np.testing.assert_allclose(loss, parity["nt_xent/loss"], rtol=1e-5, atol=1e-5)
    for gradient, view in zip(tape.gradient(loss, [z_i, z_j]), "ij"):
        expected = parity[f"nt_xent/grad_{view}"]
        assert np.linalg.norm(gradient - expected) <= 1e-5 * np.linalg.norm(expected)


def test_known_answer():
    """Identical pairs that are orthogonal to each other: -log(e^2 / (e^2 + 2))."""
    z = tf.eye(2)
    np.testing.assert_allclose(nt_xent(z, z), [-np.log(np.exp(2) / (np.exp(2) + 2))] * 4, rtol=1e-6)


def test_a_single_pair_has_nothing_to_be_told_from():
    np.testing.assert_allclose(nt_xent(*map(tf.constant, noise(1, 5))), [0.0, 0.0], atol=1e-12)


@hypothesis.given(batch=st.integers(2, 6), seed=seeds)
def test_the_length_of_a_projection_does_not_matter(batch, seed):
    z_i, z_j = noise(batch, 8, seed)
    lengths = np.random.default_rng(seed + 1).uniform(0.1, 100.0, (2, batch, 1))
    scaled = nt_xent(tf.constant(z_i * lengths[0]), tf.constant(z_j * lengths[1]))
    np.testing.assert_allclose(scaled, nt_xent(tf.constant(z_i), tf.constant(z_j)), rtol=1e-9)


@hypothesis.given(batch=st.integers(1, 6), seed=seeds)
def test_swapping_the_views_swaps_their_losses(batch, seed):
    z_i, z_j = map(tf.constant, noise(batch, 8, seed))
    swapped = nt_xent(z_j, z_i).numpy()
    np.testing.assert_allclose(np.roll(swapped, batch), nt_xent(z_i, z_j), rtol=1e-9)


@hypothesis.given(batch=st.integers(1, 6), seed=seeds)
def test_the_order_of_the_images_does_not_matter(batch, seed):
    z_i, z_j = noise(batch, 8, seed)
    order = np.random.default_rng(seed + 1).permutation(batch)
    shuffled = nt_xent(tf.constant(z_i[order]), tf.constant(z_j[order]))
    both = np.concatenate([order, order + batch])
    np.testing.assert_allclose(shuffled, nt_xent(tf.constant(z_i), tf.constant(z_j)).numpy()[both], rtol=1e-9)


def test_recognisable_views_cost_less():
    z_i, z_j = noise(8, 16)
    assert np.all(nt_xent(tf.constant(z_i), tf.constant(z_i)) < nt_xent(tf.constant(z_i), tf.constant(z_j)))


def test_small_temperatures_do_not_overflow():
    losses = nt_xent(*(tf.constant(z, tf.float32) for z in noise(8, 16)), temperature=1e-3)
    assert np.all(np.isfinite(losses)) and np.all(losses.numpy() >= 0)


def test_batch_may_be_unknown_until_run_time():
    spec = tf.TensorSpec((None, 8), tf.float64)
    z_i, z_j = map(tf.constant, noise(5, 8))
    traced = tf.function(nt_xent, input_signature=[spec, spec])(z_i, z_j)
    np.testing.assert_allclose(traced, nt_xent(z_i, z_j), rtol=1e-9)


@pytest.mark.parametrize("temperature", [0, 0.0, -0.5])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError) as error:
        nt_xent(tf.eye(2), tf.eye(2), temperature=temperature)
    assert str(error.value) == f"`temperature` must be positive. Received: temperature={temperature}"
