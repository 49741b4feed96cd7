import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.losses.dlr import dlr
from tests.reference import classification as reference

seeds = st.integers(0, 2**32 - 1)


def scene(classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(7, classes)), random.integers(0, classes, 7)


@hypothesis.given(classes=st.integers(3, 12), seed=seeds)
def test_matches_the_oracle(classes, seed):
    logits, labels = scene(classes, seed)
    losses = dlr(tf.constant(logits), labels)
    assert losses.shape == (7,)
    np.testing.assert_allclose(losses, [reference.dlr(z, y) for z, y in zip(logits, labels)], rtol=1e-6)
    np.testing.assert_array_equal(losses > 0, logits.argmax(axis=1) != labels)
    assert np.min(losses) >= -1


def test_known_answer():
    logits = tf.constant([[4.0, 1.0, 2.0, 0.0], [4.0, 1.0, 2.0, 0.0], [4.0, 1.0, 2.0, 0.0]])
    np.testing.assert_allclose(dlr(logits, [0, 1, 3]), [-2 / 3, 1.0, 4 / 3], rtol=1e-6)


@hypothesis.given(scale=st.floats(0.1, 100), shift=st.floats(-50, 50), seed=seeds)
def test_scaling_and_shifting_the_logits_does_not_matter(scale, shift, seed):
    logits, labels = scene(5, seed)
    moved = dlr(tf.constant(scale * logits + shift), labels)
    np.testing.assert_allclose(moved, dlr(tf.constant(logits), labels), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_equal_logits_give_numbers(dtype):
    logits = tf.ones([2, 4], dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = dlr(logits, [0, 3])
    assert losses.dtype == dtype
    np.testing.assert_array_equal(losses, [0.0, 0.0])
    assert np.all(np.isfinite(tape.gradient(losses, logits)))


def test_two_classes():
    with pytest.raises(ValueError) as error:
        dlr(tf.zeros([4, 2]), [0, 1, 0, 1])
    assert str(error.value) == "DLR needs at least three classes. Received: logits.shape=(4, 2)"
