import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.losses.targeted_dlr import targeted_dlr

seeds = st.integers(0, 2**32 - 1)


def scene(classes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, 7)
    return random.normal(size=(7, classes)), labels, (labels + random.integers(1, classes, 7)) % classes


def reference(z: np.ndarray, y: int, t: int) -> float:
    """Croce and Hein (ICML 2020), Eq. 7, with its sign: higher is worse for the classifier."""
    ordered = sorted(z, reverse=True)
    return -(z[y] - z[t]) / (ordered[0] - (ordered[2] + ordered[3]) / 2)


@hypothesis.given(classes=st.integers(4, 12), seed=seeds)
def test_matches_the_oracle(classes, seed):
    logits, labels, targets = scene(classes, seed)
    losses = targeted_dlr(tf.constant(logits), labels, targets)
    assert losses.shape == (7,) and losses.dtype == tf.float64
    np.testing.assert_allclose(losses, [reference(*one) for one in zip(logits, labels, targets)], rtol=1e-6)


def test_known_answer():
    logits = tf.constant([[4.0, 1.0, 2.0, 0.0]] * 3)
    np.testing.assert_allclose(targeted_dlr(logits, [0, 0, 3], [2, 3, 0]), [-2 / 3.5, -4 / 3.5, 4 / 3.5], rtol=1e-6)


@hypothesis.given(scale=st.floats(0.1, 100), shift=st.floats(-50, 50), seed=seeds)
def test_scaling_and_shifting_the_logits_does_not_matter(scale, shift, seed):
    logits, labels, targets = scene(6, seed)
    moved = targeted_dlr(tf.constant(scale * logits + shift), labels, targets)
    np.testing.assert_allclose(moved, targeted_dlr(tf.constant(logits), labels, targets), rtol=1e-6, atol=1e-9)


@hypothesis.given(classes=st.integers(4, 8), seed=seeds)
def test_gradient(classes, seed):
    """Beside finite differences."""
    logits, labels, targets = scene(classes, seed)
    hypothesis.assume(np.diff(np.sort(logits, axis=1), axis=1).min() > 1e-4)  # no kink is near
    z = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(z)
        losses = targeted_dlr(z, labels, targets)
    step = 1e-6
    expected = np.zeros_like(logits)
    for place in range(classes):
        moved = [targeted_dlr(z + sign * step * np.eye(classes)[place], labels, targets) for sign in (1, -1)]
        expected[:, place] = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(tape.gradient(losses, z), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_equal_logits_give_numbers(dtype):
    logits = tf.ones([2, 5], dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = targeted_dlr(logits, [0, 3], [1, 2])
    assert losses.dtype == dtype
    np.testing.assert_array_equal(losses, [0.0, 0.0])
    assert np.all(np.isfinite(tape.gradient(losses, logits)))


def test_three_classes():
    with pytest.raises(ValueError) as error:
        targeted_dlr(tf.zeros([2, 3]), [0, 1], [1, 2])
    assert str(error.value) == "Targeted DLR needs at least four classes. Received: logits.shape=(2, 3)"
