import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from scipy import optimize

from acl_tf.losses.kl_divergence import kl_divergence
from tests.reference import classification as reference

seeds = st.integers(0, 2**32 - 1)
temperatures = st.sampled_from([0.5, 1.0, 4.0])


def noise(batch: int = 4, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    logits, others = 3 * np.random.default_rng(seed).normal(size=(2, batch, classes))
    return logits, others


@hypothesis.given(batch=st.integers(1, 6), classes=st.integers(1, 9), temperature=temperatures, seed=seeds)
def test_matches_the_oracle(batch, classes, temperature, seed):
    logits, others = noise(batch, classes, seed)
    divergences = kl_divergence(tf.constant(logits), tf.constant(others), temperature)
    assert divergences.shape == (batch,)
    np.testing.assert_allclose(divergences, reference.kl_divergence(logits, others, temperature), rtol=1e-9, atol=1e-12)


def test_known_answer():
    """Of (3/4, 1/4) from (1/2, 1/2)."""
    value = kl_divergence(tf.math.log([[3.0, 1.0]]), tf.zeros((1, 2)))
    np.testing.assert_allclose(value, [0.75 * np.log(1.5) + 0.25 * np.log(0.5)], rtol=1e-6)


@hypothesis.given(seed=seeds)
def test_is_zero_only_between_equal_distributions(seed):
    logits, others = noise(seed=seed)
    np.testing.assert_allclose(kl_divergence(tf.constant(logits), tf.constant(logits + 7.0)), 0, atol=1e-12)
    assert np.all(kl_divergence(tf.constant(logits), tf.constant(others)) > 0)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_gradients_pass_both_arguments(temperature):
    both = tf.Variable(noise(2, 3))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(kl_divergence(both[0], both[1], temperature))
    gradient = tape.gradient(value, both).numpy()

    def oracle(flat: np.ndarray) -> float:
        return reference.kl_divergence(*flat.reshape(2, 2, 3), temperature).sum()

    expected = optimize.approx_fprime(both.numpy().ravel(), oracle, 1e-7).reshape(gradient.shape)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    assert np.all(np.abs(gradient).max(axis=(1, 2)) > 1e-3)


def test_large_logits_do_not_overflow():
    logits = tf.constant([[1e4, 0.0, -1e4]])
    np.testing.assert_allclose(kl_divergence(logits, logits), [0.0])
    np.testing.assert_allclose(kl_divergence(logits, -logits), [2e4])
