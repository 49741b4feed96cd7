import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.pgd import PGD
from acl_tf.errors import UsageError
from acl_tf.losses import CLASSIFICATION_LOSSES
from acl_tf.losses.targeted import targeted
from tests.reference import classification as reference

LOGITS = np.random.default_rng(0).normal(size=(6, 5))
TARGETS = np.array([0, 1, 2, 3, 4, 0])


def test_names():
    assert list(CLASSIFICATION_LOSSES) == ["cross_entropy", "margin", "dlr"]
    with pytest.raises(UsageError) as error:
        CLASSIFICATION_LOSSES["margins"]
    assert str(error.value).startswith('Unknown loss; did you mean "margin"?')


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_is_minus_the_loss_at_the_target(name):
    expected = [-getattr(reference, name)(z, y) for z, y in zip(LOGITS, TARGETS)]
    losses = targeted(CLASSIFICATION_LOSSES[name])(tf.constant(LOGITS), TARGETS)
    assert losses.shape == (6,)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_an_attack_reaches_the_target(name):
    """The logits of a linear model that moves each of four classes by pixels of its own."""
    loss, targets = targeted(CLASSIFICATION_LOSSES[name]), tf.constant([1, 2, 3, 0])
    images = tf.fill([4, 2, 2, 1], 0.5)
    found = PGD(0.2, 0.1, 4)(
        images, lambda x: loss(tf.reshape(x, [4, 4]), targets), 0.01 * tf.random.stateless_normal(images.shape, (0, 1))
    ).images
    np.testing.assert_array_equal(np.reshape(found, [4, 4]).argmax(axis=1), targets)
