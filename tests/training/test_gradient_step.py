import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.training.gradient_step import gradient_step, mean_over_global_batch
from acl_tf.training.sgd import SGD

START = np.array([1.0, -2.0, 3.0])
TARGETS = np.random.default_rng(0).normal(size=(8, 3))


def weight(name: str = "weight", dtype: str = "float64") -> keras.Variable:
    return keras.Variable(START, dtype=dtype, name=name)


def built(optimizer: keras.optimizers.Optimizer, *variables: keras.Variable) -> keras.optimizers.Optimizer:
    optimizer.build(list(variables))
    return optimizer


def squares(variable: keras.Variable, targets: tf.Tensor):
    """Half the mean square distance; its gradient is that to the mean of the targets."""

    def loss_and_parts():
        values = tf.reduce_sum(tf.square(tf.convert_to_tensor(variable) - targets), axis=1) / 2
        return mean_over_global_batch(values), values

    return loss_and_parts


def test_a_step_down():
    variable = weight()
    loss, values, norm = gradient_step(
        built(SGD(0.1, momentum=0.0), variable), [variable], squares(variable, tf.constant(TARGETS))
    )
    gradient = START - TARGETS.mean(axis=0)
    np.testing.assert_allclose(variable.numpy(), START - 0.1 * gradient, rtol=1e-6)
    np.testing.assert_allclose(values, np.square(START - TARGETS).sum(axis=1) / 2)
    np.testing.assert_allclose(loss, np.mean(values))
    np.testing.assert_allclose(norm, np.linalg.norm(gradient))


def test_what_the_loss_does_not_depend_on_stays():
    """Also with weight decay and momentum, which would move it."""
    variable, other = weight(), weight("other")
    optimizer = built(SGD(0.1, momentum=0.9, weight_decay=0.5), variable, other)
    for _ in range(2):
        gradient_step(optimizer, [variable, other], squares(variable, tf.constant(TARGETS)))
    np.testing.assert_array_equal(other.numpy(), START)
    assert np.all(variable.numpy() != START)


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_the_loss_scale_changes_neither_the_step_nor_the_norm(scale):
    variable = weight(dtype="float32")
    optimizer = keras.optimizers.LossScaleOptimizer(SGD(0.1, momentum=0.0), initial_scale=scale)
    optimizer.build([variable])
    loss, _, norm = gradient_step(optimizer, [variable], squares(variable, tf.constant(TARGETS, tf.float32)))
    gradient = START - TARGETS.mean(axis=0)
    np.testing.assert_allclose(norm, np.linalg.norm(gradient), rtol=1e-5)
    np.testing.assert_allclose(variable.numpy(), START - 0.1 * gradient, rtol=1e-5)
    np.testing.assert_allclose(loss, np.square(START - TARGETS).sum(axis=1).mean() / 2, rtol=1e-5)


def both(variable: keras.Variable, other: keras.Variable):
    """Half the square distance from one to twice the other."""

    def loss_and_parts():
        difference = tf.cast(tf.convert_to_tensor(variable), tf.float32) - 2 * tf.convert_to_tensor(other)
        return tf.reduce_sum(tf.square(difference)) / 2, None

    return loss_and_parts


def test_weights_may_differ_in_dtype():
    variable, other = weight(), weight("other", "float32")
    optimizer = built(SGD(0.1, momentum=0.0), variable, other)
    _, _, norm = gradient_step(optimizer, [variable, other], both(variable, other))
    np.testing.assert_allclose(norm, np.linalg.norm([-START, 2 * START]), rtol=1e-6)
    np.testing.assert_allclose(variable.numpy(), 1.1 * START, rtol=1e-6)
    np.testing.assert_allclose(other.numpy(), 0.8 * START, rtol=1e-6)


def test_the_mean_of_one_replica_is_the_mean():
    assert float(mean_over_global_batch(tf.constant([1.0, 2.0, 6.0]))) == 3.0


@pytest.mark.slow
def test_two_replicas_take_the_step_of_one(run_python):
    run_python(f"from {__name__} import compare_replicas; compare_replicas()")


def compare_replicas() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        variable, other = weight(), weight("other", "float32")
        optimizer = built(SGD(0.1, momentum=0.0), variable, other)
    strategy.run(tf.function(lambda: gradient_step(optimizer, [variable, other], both(variable, other))[2]))
    np.testing.assert_allclose(variable.numpy(), 1.2 * START, rtol=1e-6)  # the sum of two equal shares
    np.testing.assert_allclose(other.numpy(), 0.6 * START, rtol=1e-6)

    gradient = START - TARGETS.mean(axis=0)
    halves = tf.split(tf.constant(TARGETS), 2)
    for clipnorm in (None, 0.5):
        with strategy.scope():
            variable = weight()
            optimizer = built(SGD(0.1, momentum=0.0, clipnorm=clipnorm), variable)

        @tf.function
        def step(targets, optimizer=optimizer, variable=variable):
            loss, _, norm = gradient_step(optimizer, [variable], squares(variable, targets))
            return loss, norm

        shards = strategy.experimental_distribute_values_from_function(lambda c: halves[c.replica_id_in_sync_group])
        losses, norms = strategy.run(step, (shards,))
        total = sum(strategy.experimental_local_results(losses))
        np.testing.assert_allclose(total, np.square(START - TARGETS).sum(axis=1).mean() / 2)
        for norm in strategy.experimental_local_results(norms):
            np.testing.assert_allclose(norm, np.linalg.norm(gradient))
        if clipnorm is None:
            np.testing.assert_allclose(variable.numpy(), START - 0.1 * gradient, rtol=1e-6)
