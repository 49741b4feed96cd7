import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from scipy import optimize

from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.distillation import distillation
from tests.reference import classification as reference

seeds = st.integers(0, 2**32 - 1)


def noise(batch: int = 4, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    logits, teacher = 3 * np.random.default_rng(seed).normal(size=(2, batch, classes))
    return logits, teacher


@hypothesis.given(
    batch=st.integers(1, 6), classes=st.integers(1, 9), temperature=st.sampled_from([0.5, 1.0, 4.0]), seed=seeds
)
def test_matches_the_oracle(batch, classes, temperature, seed):
    logits, teacher = noise(batch, classes, seed)
    losses = distillation(tf.constant(logits), tf.constant(teacher), temperature)
    assert losses.shape == (batch,)
    np.testing.assert_allclose(losses, reference.distillation(logits, teacher, temperature), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_differs_from_the_divergence_by_the_entropy_of_the_teacher(temperature):
    logits, teacher = noise()
    losses = distillation(tf.constant(logits), tf.constant(teacher), temperature)
    divergence = temperature**2 * reference.kl_divergence(teacher, logits, temperature)
    np.testing.assert_allclose(losses - divergence, reference.distillation(teacher, teacher, temperature), rtol=1e-9)


def test_a_certain_teacher_is_a_label():
    logits, _ = noise(3, 4)
    labels = np.array([2, 0, 3])
    losses = distillation(tf.constant(logits), tf.constant(1e3 * np.eye(4)[labels]))
    np.testing.assert_allclose(losses, cross_entropy(tf.constant(logits), labels), rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_gradient(temperature):
    logits, teacher = noise(2, 3)
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(distillation(variable, tf.constant(teacher), temperature))

    def oracle(flat: np.ndarray) -> float:
        return reference.distillation(flat.reshape(2, 3), teacher, temperature).sum()

    expected = optimize.approx_fprime(logits.ravel(), oracle, 1e-7).reshape(2, 3)
    np.testing.assert_allclose(tape.gradient(value, variable), expected, atol=1e-5)


def test_gradient_through_the_teacher():
    """It is up to the caller whether there is one."""
    logits, teacher = noise(2, 3)
    variable = tf.Variable(teacher)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(distillation(tf.constant(logits), variable, 2.0))
    expected = optimize.approx_fprime(
        teacher.ravel(), lambda flat: reference.distillation(logits, flat.reshape(2, 3), 2.0).sum(), 1e-7
    )
    gradient = tape.gradient(value, variable)
    assert gradient is not None
    np.testing.assert_allclose(gradient, expected.reshape(2, 3), atol=1e-5)


@pytest.mark.parametrize("temperature", [0, 0.0, -1.0])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError) as error:
        distillation(tf.zeros((1, 2)), tf.zeros((1, 2)), temperature)
    assert str(error.value) == f"`temperature` must be positive. Received: temperature={temperature}"
