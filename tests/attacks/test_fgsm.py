import numpy as np
import tensorflow as tf

from acl_tf.attacks.fgsm import FGSM
from tests.attacks.scenes import images, linear, loss, run, slope


def test_adds_the_sign_of_the_gradient():
    x, weights = images(), slope()
    result = run(FGSM(0.1), x, linear(weights))
    np.testing.assert_allclose(result.images, np.clip(x + 0.1 * np.sign(weights), 0, 1), atol=1e-6)


def test_starts_from_the_image_itself():
    start = FGSM(0.1).start((2, 4, 4, 3), tf.constant((3, 14)), tf.float64)
    assert start.shape == (2, 4, 4, 3) and start.dtype == tf.float64
    assert not np.any(start)


def test_takes_one_gradient():
    x = images()
    cross_entropy = loss("cross_entropy", x)
    np.testing.assert_allclose(run(FGSM(0.1), x, cross_entropy).losses, [np.mean(cross_entropy(x))], rtol=1e-6)
