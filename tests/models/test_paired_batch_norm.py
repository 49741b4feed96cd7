import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.models.batch_norm import BatchNormalization
from acl_tf.models.branch import Branch
from acl_tf.models.paired_batch_norm import PairedBatchNormalization

SHAPE = (4, 5, 5, 3)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 3.0, SHAPE).astype("float32")


def random_layer() -> PairedBatchNormalization:
    layer = PairedBatchNormalization()
    layer.build(SHAPE)
    layer.set_weights(list(np.random.default_rng(1).uniform(0.5, 2.0, (8, SHAPE[-1]))))
    return layer


def test_has_two_sets_of_weights():
    layer = random_layer()
    paths = [variable.path.partition("/")[2] for variable in layer.weights]
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    assert sorted(paths) == sorted(f"{branch}/{name}" for branch in ("standard", "adversarial") for name in names)
    assert len(layer.trainable_variables) == 4


@pytest.mark.parametrize("branch, other", [("standard", "adversarial"), ("adversarial", "standard")])
def test_a_call_uses_and_moves_its_own_branch_only(branch, other):
    layer = random_layer()
    alone = BatchNormalization()
    alone.build(SHAPE)
    alone.set_weights(layer.of(branch).get_weights())
    untouched = layer.of(other).get_weights()
    for training in (True, False):
        np.testing.assert_array_equal(
            layer(noise(), branch=branch, training=training), alone(noise(), training=training)
        )
    for weight, expected in zip(layer.of(branch).get_weights(), alone.get_weights()):
        np.testing.assert_array_equal(weight, expected)
    for weight, expected in zip(layer.of(other).get_weights(), untouched):
        np.testing.assert_array_equal(weight, expected)
    assert not np.array_equal(layer.of(branch).get_weights()[2], untouched[2])


def test_gradients_reach_one_branch_only():
    layer = random_layer()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(noise(), branch="standard", training=True) ** 2)
    gradients = tape.gradient(loss, [variable.value for variable in layer.trainable_variables])
    reached = [v.path for v, g in zip(layer.trainable_variables, gradients) if g is not None]
    assert reached == [layer.standard.gamma.path, layer.standard.beta.path]


def test_inference_moves_nothing():
    layer = random_layer()
    before = layer.get_weights()
    for branch in Branch:
        layer(noise(), branch=branch)
        layer(noise(), branch=branch, training=False)
    for weight, expected in zip(layer.get_weights(), before):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("branch", ["pgd", 1, True, None])
def test_unknown_branch(branch):
    with pytest.raises(ValueError) as error:
        random_layer().of(branch)
    assert str(error.value) == f"`branch` must be one of ['standard', 'adversarial']. Received: branch={branch!r}"


def test_the_branch_has_no_default():
    with pytest.raises(TypeError, match="branch"):
        random_layer()(noise())


def test_config_round_trip():
    layer = PairedBatchNormalization(0.8, epsilon=1e-3, synchronized=True, dtype="mixed_bfloat16", name="norm")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(copy, PairedBatchNormalization)
    assert copy.get_config() == layer.get_config()
    for norm in (copy, copy.standard, copy.adversarial):
        assert (norm.momentum, norm.epsilon, norm.synchronized) == (0.8, 1e-3, True)
        assert norm.dtype_policy.name == "mixed_bfloat16"


def test_symbolic_call_keeps_the_shape():
    layer = PairedBatchNormalization()
    for branch in Branch:
        assert layer(keras.Input((5, 5, 3)), branch=branch).shape == (None, 5, 5, 3)
    assert layer.built


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # those of the other branch
def test_one_step_of_training_learns_the_branch_that_it_takes():
    layer = PairedBatchNormalization(name="norm")
    inputs = keras.Input(SHAPE[1:])
    model = keras.Model(inputs, layer(inputs, branch="adversarial"))
    model.compile(optimizer="sgd", loss="mse")
    before = [variable.numpy() for variable in layer.weights]
    model.fit(noise(), noise(1), batch_size=4, verbose=0)
    changed = {v.path for v, old in zip(layer.weights, before) if not np.array_equal(v, old)}
    assert changed == {variable.path for variable in layer.adversarial.weights}


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64"])
def test_dtypes(dtype):
    layer = PairedBatchNormalization(dtype=dtype)
    outputs = layer(noise().astype("float64"), branch="standard", training=True)
    assert outputs.dtype == layer.compute_dtype
    assert {variable.dtype for variable in layer.weights} == {layer.variable_dtype}
