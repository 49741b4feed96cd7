import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.training import OPTIMIZERS
from acl_tf.training.schedules import WarmupCosine
from acl_tf.training.sgd import SGD
from tests.reference import optimizers as reference

STEPS = 6
WEIGHTS = np.random.default_rng(0).normal(size=(4, 5))
GRADIENTS = np.random.default_rng(1).normal(size=(STEPS, 4, 5))
# The rate drops by ten, as the published recipes have it: here a rate inside of the momentum would differ.
RATES = [0.1, 0.1, 0.1, 0.01, 0.01, 0.01]


class Drop(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.constant(RATES), step)


def trained(dtype: str, momentum: float, weight_decay: float, nesterov: bool) -> np.ndarray:
    weight = keras.Variable(WEIGHTS, dtype=dtype)
    optimizer = SGD(Drop(), momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
    for gradient in GRADIENTS:
        optimizer.apply([tf.constant(gradient, dtype)], [weight])
    return weight.numpy()


@pytest.mark.parametrize(
    "momentum, weight_decay, nesterov",
    [(0.9, 2e-4, False), (0.9, 0.1, False), (0.0, 0.0, False), (0.9, 2e-4, True), (0.5, 0.1, True)],
)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-6)])
def test_matches_the_oracle(momentum, weight_decay, nesterov, dtype, tolerance):
    expected, buffer = WEIGHTS, np.zeros_like(WEIGHTS)
    for gradient, rate in zip(GRADIENTS, RATES):
        expected, buffer = reference.sgd_step(expected, gradient, buffer, rate, momentum, weight_decay, nesterov)
    actual = trained(dtype, momentum, weight_decay, nesterov)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.interop
@pytest.mark.parametrize(
    "momentum, weight_decay, nesterov",
    [(0.9, 2e-4, False), (0.9, 0.1, False), (0.0, 0.0, False), (0.9, 2e-4, True), (0.5, 0.1, True)],
)
def test_matches_pytorch(momentum, weight_decay, nesterov):
    torch = pytest.importorskip("torch", reason="compares with PyTorch's SGD")
    weight = torch.tensor(WEIGHTS, requires_grad=True)
    settings = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
    optimizer = torch.optim.SGD([weight], lr=RATES[0], **settings)
    for gradient, rate in zip(GRADIENTS, RATES):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    expected = weight.detach().numpy()
    np.testing.assert_allclose(trained("float64", **settings), expected, rtol=1e-6, atol=1e-7)


def test_serialisation_round_trip():
    optimizer = SGD(WarmupCosine(0.1, 10, 1), momentum=0.8, weight_decay=1e-4, nesterov=True, clipnorm=1.0)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(copy, SGD)
    assert keras.saving.serialize_keras_object(copy) == keras.saving.serialize_keras_object(optimizer)
    assert (copy.momentum, copy.coupled_weight_decay, copy.nesterov, copy.clipnorm) == (0.8, 1e-4, True, 1.0)


def test_nesterov_needs_a_momentum():
    with pytest.raises(ValueError) as error:
        SGD(momentum=0.0, nesterov=True)
    assert str(error.value) == "`nesterov` needs a positive momentum. Received: momentum=0.0"


def test_is_registered():
    assert OPTIMIZERS["sgd"] is SGD
    assert issubclass(OPTIMIZERS["adamw"], keras.optimizers.AdamW)
