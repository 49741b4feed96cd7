import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.training import OPTIMIZERS
from acl_tf.training.lars import LARS
from acl_tf.training.schedules import WarmupCosine
from tests.reference import optimizers as reference

SHAPES = {"kernel": (3, 3, 4, 5), "bias": (5,), "gamma": (5,)}


def variables(dtype: str = "float64") -> list[keras.Variable]:
    random = np.random.default_rng(0)
    return [keras.Variable(random.normal(size=shape), dtype=dtype, name=name) for name, shape in SHAPES.items()]


def gradients(step: int, scale: float = 1.0) -> list[np.ndarray]:
    random = np.random.default_rng(100 + step)
    return [scale * random.normal(size=shape) for shape in SHAPES.values()]


@pytest.mark.parametrize(
    "arguments",
    [
        {"learning_rate": 5.0},
        {"learning_rate": 0.5, "momentum": 0.0, "weight_decay": 0.0},
        {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.1, "trust_coefficient": 0.02},
    ],
)
def test_five_steps_match_the_oracle(arguments):
    settings = {"momentum": 0.9, "weight_decay": 1e-6, "trust_coefficient": 1e-3, **arguments}
    settings["trust"] = settings.pop("trust_coefficient")
    optimizer, weights = LARS(**arguments), variables()
    expected = [(weight.numpy(), np.zeros(weight.shape)) for weight in weights]
    for step in range(5):
        optimizer.apply([tf.constant(gradient) for gradient in gradients(step)], weights)
        expected = [reference.lars_step(w, g, b, **settings) for (w, b), g in zip(expected, gradients(step))]
        for weight, buffer, (w, b) in zip(weights, optimizer.buffers, expected):
            # Keras keeps the learning rate in float32.
            np.testing.assert_allclose(buffer, b, rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(weight, w, rtol=1e-6, atol=1e-8)


def test_a_schedule_sets_the_rate_of_each_step():
    """The buffer keeps the rates of the past."""
    schedule = WarmupCosine(2.0, total_steps=6, warmup_steps=2)
    optimizer, weights = LARS(schedule), variables()
    expected = [(weight.numpy(), np.zeros(weight.shape)) for weight in weights]
    for step in range(6):
        optimizer.apply([tf.constant(gradient) for gradient in gradients(step)], weights)
        rate = float(schedule(step))
        expected = [
            reference.lars_step(w, g, b, rate, momentum=0.9, weight_decay=1e-6, trust=1e-3)
            for (w, b), g in zip(expected, gradients(step))
        ]
    for weight, (w, _) in zip(weights, expected):
        np.testing.assert_allclose(weight, w, rtol=1e-6, atol=1e-8)


def test_a_step_does_not_depend_on_the_scale_of_the_gradient():
    results = []
    for scale in (1.0, 1e4):
        optimizer, weights = LARS(0.5, weight_decay=0.0), variables()
        optimizer.apply([tf.constant(gradient) for gradient in gradients(0, scale)], weights)
        results.append([weight.numpy() for weight in weights])
    for small, large in zip(*results):
        np.testing.assert_allclose(small, large, rtol=1e-9)


def test_variables_that_the_pattern_matches_are_plain_momentum_without_decay():
    optimizer, weights = LARS(0.5, weight_decay=0.1, exclude=r"bias$|gamma$"), variables()
    before = [weight.numpy() for weight in weights]
    optimizer.apply([tf.constant(gradient) for gradient in gradients(0)], weights)
    (kernel, *excluded), (kernel_before, *excluded_before) = weights, before
    expected, _ = reference.lars_step(kernel_before, gradients(0)[0], 0.0, 0.5, 0.9, weight_decay=0.1, trust=1e-3)
    np.testing.assert_allclose(kernel, expected, rtol=1e-6, atol=1e-8)
    for weight, old, gradient in zip(excluded, excluded_before, gradients(0)[1:]):
        np.testing.assert_allclose(weight, old - 0.5 * gradient, rtol=1e-6)


def test_nothing_is_excluded_by_default():
    optimizer, weights = LARS(0.5), variables()
    before = [weight.numpy() for weight in weights]
    optimizer.apply([tf.constant(gradient) for gradient in gradients(0)], weights)
    for weight, old in zip(weights, before):
        assert np.linalg.norm(weight - old) == pytest.approx(0.5 * 1e-3 * np.linalg.norm(old), rel=1e-4)


@pytest.mark.parametrize("zero", ["weights", "gradient", "both"])
def test_the_local_rate_is_one_where_a_norm_is_zero(zero):
    value = np.zeros(3) if zero in ("weights", "both") else np.array([1.0, 2.0, 3.0])
    gradient = np.zeros(3) if zero in ("gradient", "both") else np.array([0.1, 0.2, 0.3])
    weight = keras.Variable(value, dtype="float64")
    optimizer = LARS(0.5, weight_decay=0.1)
    optimizer.apply([tf.constant(gradient)], [weight])
    np.testing.assert_allclose(weight, value - 0.5 * (gradient + 0.1 * value), rtol=1e-6)


def test_runs_in_a_graph_and_in_float32():
    optimizer, weights = LARS(0.5), variables("float32")
    optimizer.build(weights)
    eager, copies = LARS(0.5), variables("float32")
    step = tf.function(lambda *values: optimizer.apply(list(values), weights))
    for number in range(3):
        values = [tf.constant(gradient, tf.float32) for gradient in gradients(number)]
        step(*values)
        eager.apply(values, copies)
    for weight, copy in zip(weights, copies):
        np.testing.assert_allclose(weight, copy, rtol=1e-6, atol=1e-8)


def test_serialisation_round_trip():
    optimizer = LARS(
        WarmupCosine(5.0, 10, 1), momentum=0.8, weight_decay=1e-4, trust_coefficient=0.01, exclude="beta", clipnorm=1.0
    )
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(copy, LARS)
    assert keras.saving.serialize_keras_object(copy) == keras.saving.serialize_keras_object(optimizer)
    assert (copy.momentum, copy.coupled_weight_decay, copy.trust_coefficient) == (0.8, 1e-4, 0.01)
    assert (copy.exclude, copy.clipnorm) == ("beta", 1.0)


def test_is_registered():
    assert OPTIMIZERS["lars"] is LARS
