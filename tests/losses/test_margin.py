import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.losses import CLASSIFICATION_LOSSES
from acl_tf.losses.margin import margin
from tests.reference import classification as reference


@hypothesis.given(classes=st.integers(2, 12), scale=st.sampled_from([1e-3, 1.0, 1e4]), seed=st.integers(0, 2**32 - 1))
def test_matches_the_oracle(classes, scale, seed):
    random = np.random.default_rng(seed)
    logits, labels = scale * random.normal(size=(7, classes)), random.integers(0, classes, 7)
    losses = margin(tf.constant(logits), labels)
    assert losses.shape == (7,)
    np.testing.assert_allclose(losses, [reference.margin(z, y) for z, y in zip(logits, labels)], rtol=1e-12)
    np.testing.assert_array_equal(losses > 0, logits.argmax(axis=1) != labels)


def test_known_answer():
    logits = tf.constant([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [5.0, 5.0, 0.0]])
    np.testing.assert_allclose(margin(logits, [0, 1, 0]), [-1.0, 2.0, 0.0])


@pytest.mark.parametrize("labels_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
def test_keeps_the_dtype_and_has_a_gradient(dtype, labels_dtype):
    logits = tf.constant([[3.0, 1.0, 2.0]], dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = margin(logits, np.array([0], labels_dtype))
    assert losses.dtype == dtype
    np.testing.assert_array_equal(tf.cast(tape.gradient(losses, logits), tf.float32), [[-1.0, 0.0, 1.0]])


def test_one_class():
    with pytest.raises(ValueError) as error:
        margin(tf.zeros([4, 1]), [0, 0, 0, 0])
    assert str(error.value) == "The margin needs at least two classes. Received: logits.shape=(4, 1)"


@hypothesis.given(name=st.sampled_from(list(CLASSIFICATION_LOSSES)), seed=st.integers(0, 2**32 - 1))
def test_all_are_higher_for_an_example_that_is_classified_worse(name, seed):
    """The logit of the label falls, and the others stay."""
    logits = np.random.default_rng(seed).normal(size=(1, 5))
    worse = np.repeat(logits, 20, axis=0)
    worse[:, 2] = np.linspace(3, -3, 20)
    losses = CLASSIFICATION_LOSSES[name](tf.constant(worse), np.full(20, 2))
    # DLR of a misclassified example falls once the label is no longer among the three largest; never of a correct one.
    classified = worse.argmax(axis=1) == 2
    assert np.all(np.diff(losses)[classified[1:] if name == "dlr" else ...] >= -1e-12)
    assert CLASSIFICATION_LOSSES[name](tf.constant(worse), np.full(20, 2)).shape == (20,)
