import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.models.batch_norm import BatchNormalization
from tests.reference import batch_norm as reference

CHANNELS = 3
SHAPES = [(16, CHANNELS), (4, 7, CHANNELS), (4, 6, 5, CHANNELS)]
DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 3.0, shape)


def random_layer(shape: tuple[int, ...] = SHAPES[-1], dtype: str = "float32", **kwargs) -> BatchNormalization:
    """A built layer whose parameters and statistics are not the initial ones."""
    layer = BatchNormalization(dtype=dtype, name="bn", **kwargs)
    layer.build(shape)
    values = np.random.default_rng(1).uniform(0.5, 2.0, (4, CHANNELS))
    layer.set_weights(list(values))
    return layer


def expected(layer: BatchNormalization, mean: np.ndarray, variance: np.ndarray, x: np.ndarray) -> np.ndarray:
    gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
    return reference.normalize(x, mean, variance, gamma, beta, layer.epsilon)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_training_matches_the_oracle(shape, dtype):
    layer = random_layer(shape, dtype)
    moving_mean, moving_variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    for seed in (0, 1):
        x = noise(shape, seed)
        mean, biased, unbiased = reference.batch_statistics(x)
        outputs = layer(x.astype(dtype), training=True)
        assert outputs.dtype == dtype
        np.testing.assert_allclose(outputs, expected(layer, mean, biased, x), atol=TOLERANCE[dtype])
        moving_mean = 0.9 * moving_mean + 0.1 * mean
        moving_variance = 0.9 * moving_variance + 0.1 * unbiased
    np.testing.assert_allclose(layer.moving_mean, moving_mean, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(layer.moving_variance, moving_variance, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_inference_matches_the_oracle_and_moves_nothing(shape, dtype):
    layer = random_layer(shape, dtype)
    before, x = layer.get_weights(), noise(shape)
    outputs = expected(layer, layer.moving_mean.numpy(), layer.moving_variance.numpy(), x)
    for training in (False, None):
        np.testing.assert_allclose(layer(x.astype(dtype), training=training), outputs, atol=TOLERANCE[dtype])
    for weight, old in zip(layer.get_weights(), before):
        np.testing.assert_array_equal(weight, old)


def test_inference_is_that_of_the_built_in_layer():
    layer, x = random_layer(), noise((4, 6, 5, CHANNELS)).astype("float32")
    built_in = keras.layers.BatchNormalization(epsilon=1e-5)
    built_in.build(x.shape)
    built_in.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(x), built_in(x), atol=1e-6)


def test_a_frozen_layer_is_in_inference_mode():
    layer, x = random_layer(), noise((4, 6, 5, CHANNELS)).astype("float32")
    inference, before = layer(x, training=False), layer.get_weights()
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), inference)
    for weight, old in zip(layer.get_weights(), before):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("training", [True, False])
def test_fused_and_generic_paths_agree_in_gradients_too(training):
    x = noise((4, 6, 5, CHANNELS)).astype("float32")
    results = []
    for shape in (x.shape, (-1, CHANNELS)):  # four axes take the fused kernel
        inputs = tf.constant(x.reshape(shape))
        layer = random_layer(inputs.shape)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(layer(inputs, training=training) ** 3)
        gradients = tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value])
        results.append([*(np.reshape(g, (-1, CHANNELS)) for g in gradients), *layer.get_weights()])
    for fused, generic in zip(*results):
        np.testing.assert_allclose(fused, generic, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_half_precision_keeps_its_statistics_in_float32(shape, policy):
    layer, x = random_layer(shape, policy), noise(shape)
    before = layer.moving_variance.numpy()
    mean, biased, unbiased = reference.batch_statistics(x)
    outputs = layer(tf.cast(x, layer.compute_dtype), training=True)
    assert outputs.dtype == layer.compute_dtype
    assert all(weight.dtype == "float32" for weight in layer.weights)
    np.testing.assert_allclose(tf.cast(outputs, "float64"), expected(layer, mean, biased, x), atol=0.05)
    np.testing.assert_allclose(layer.moving_variance, 0.9 * before + 0.1 * unbiased, rtol=5e-3)
    moved = layer.get_weights()
    inference = expected(layer, layer.moving_mean.numpy(), layer.moving_variance.numpy(), x)
    np.testing.assert_allclose(tf.cast(layer(tf.cast(x, layer.compute_dtype)), "float64"), inference, atol=0.1)
    for weight, old in zip(layer.get_weights(), moved):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("shape", [(1, CHANNELS), (1, 1, 1, CHANNELS)])
def test_a_single_row_has_a_finite_variance(shape):
    layer = random_layer(shape)
    before = layer.moving_variance.numpy()
    layer(noise(shape).astype("float32"), training=True)
    np.testing.assert_allclose(layer.moving_variance, 0.9 * before, rtol=1e-6)


def test_config_round_trip():
    layer = BatchNormalization(momentum=0.8, epsilon=1e-3, synchronized=True, dtype="mixed_bfloat16", name="norm")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(copy, BatchNormalization)
    assert copy.get_config() == layer.get_config()
    assert (copy.momentum, copy.epsilon, copy.synchronized, copy.name) == (0.8, 1e-3, True, "norm")
    assert copy.dtype_policy.name == "mixed_bfloat16"


def test_defaults_are_those_of_the_published_networks():
    layer = BatchNormalization()
    assert (layer.momentum, layer.epsilon, layer.synchronized) == (0.9, 1e-5, False)


def test_two_synchronized_replicas_equal_one_with_the_joint_batch(run_python):
    run_python(f"from {__name__} import compare_replicas; compare_replicas()")


def compare_replicas() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for dtype, shape in (("float64", SHAPES[0]), ("float64", SHAPES[2]), ("float32", SHAPES[2])):
        x = tf.constant(noise(shape), dtype)
        halves = tf.split(x, 2)
        for synchronized in (True, False):
            with strategy.scope():
                layer = random_layer(shape, dtype, synchronized=synchronized)
            inputs = strategy.experimental_distribute_values_from_function(
                lambda context, halves=halves: halves[context.replica_id_in_sync_group]
            )
            replicas = strategy.run(tf.function(_outputs_and_gradients), (layer, inputs))
            single = [random_layer(shape, dtype) for _ in halves]
            batches = [x] if synchronized else halves
            expected = zip(*map(_outputs_and_gradients, single, batches))
            for values, parts in zip(replicas, expected):
                joint = tf.concat(strategy.experimental_local_results(values), axis=0)
                np.testing.assert_allclose(joint, tf.concat(parts, axis=0), rtol=1e-4, atol=TOLERANCE[dtype])
            # Where the replicas are not synchronized, the first one's statistics are what is read and saved.
            for weight, other in zip(layer.get_weights(), single[0].get_weights()):
                np.testing.assert_allclose(weight, other, rtol=TOLERANCE[dtype])


def _outputs_and_gradients(layer: BatchNormalization, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=True)
        loss = tf.reduce_sum(outputs**3)
    return outputs, tape.gradient(loss, x)
