import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.frozen_branch import FrozenBranch, Shift
from acl_tf.models.heads import ProjectionHead
from acl_tf.models.paired_model import PairedModel

IMAGES = np.random.default_rng(0).random((2, 16, 16, 3))


def shaken(model: PairedModel) -> PairedModel:
    """The model with weights and statistics, of each branch its own, that no normalisation starts with."""
    generator = np.random.default_rng(1)
    for variable in model.weights:
        if "gamma" in variable.path or "variance" in variable.path:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif "beta" in variable.path or "mean" in variable.path:
            variable.assign(generator.normal(0.0, 0.1, variable.shape))
    return model


def outputs_and_gradient(network, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = network(inputs)
        loss = tf.reduce_sum(tf.square(outputs))
    return outputs, tape.gradient(loss, inputs)


# How many normalisations follow a convolution that nothing else reads: in a wide ResNet the second of each block, and
# the first one.
@pytest.mark.parametrize(
    "arch, batch_norm, pairs",
    [("resnet18", "paired", 20), ("resnet18", "single", 20), ("resnet50", "paired", 53), ("wrn-28-10", "paired", 13)],
)
@pytest.mark.parametrize("branch", Branch)
def test_computes_what_the_branch_computes(arch, batch_norm, pairs, branch):
    keras.config.set_dtype_policy("float64")
    encoder = shaken(Encoder(arch, 0.1, image_shape=(16, 16, 3), batch_norm=batch_norm))
    frozen = FrozenBranch(encoder, branch)
    assert len(frozen.pairs) == pairs
    assert len([layer for layer in frozen.graph.layers if isinstance(layer, Shift)]) == pairs
    inputs = tf.constant(IMAGES)
    expected = outputs_and_gradient(lambda images: encoder(images, branch=branch), inputs)
    for actual, value in zip(outputs_and_gradient(frozen.freeze(), inputs), expected, strict=True):
        np.testing.assert_allclose(actual, value, atol=1e-10 * np.abs(value).max())


def test_a_head_has_nothing_to_fold():
    head = shaken(ProjectionHead(8))
    frozen = FrozenBranch(head, "adversarial")
    assert frozen.pairs == {}
    features = tf.constant(np.random.default_rng(2).normal(size=(4, 8)), tf.float32)
    np.testing.assert_allclose(frozen.freeze()(features), head(features, branch="adversarial"), rtol=1e-5, atol=1e-6)


def test_it_keeps_the_weights_of_when_it_was_frozen():
    encoder = shaken(Encoder("resnet18", 0.1, image_shape=(16, 16, 3)))
    frozen = FrozenBranch(encoder, "adversarial")
    images = tf.constant(IMAGES, tf.float32)
    before = frozen.freeze()
    first = before(images)
    for variable in encoder.trainable_variables:
        variable.assign(variable * 1.1)
    np.testing.assert_array_equal(before(images), first)
    now = encoder(images, branch="adversarial")
    np.testing.assert_allclose(frozen.freeze()(images), now, rtol=1e-4, atol=1e-5 * np.abs(now).max())
    assert not np.allclose(now, first, rtol=0.01)


def test_no_gradient_reaches_a_weight():
    encoder = Encoder("resnet18", 0.1, image_shape=(16, 16, 3))
    network = FrozenBranch(encoder, "adversarial").freeze()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(tf.constant(IMAGES, tf.float32)))
    assert all(gradient is None for gradient in tape.gradient(loss, encoder.trainable_variables))


def test_the_encoder_is_as_it_was():
    encoder = Encoder("resnet18", 0.1, image_shape=(16, 16, 3))
    paths = [variable.path for variable in encoder.variables]
    FrozenBranch(encoder, "adversarial").freeze()(tf.constant(IMAGES, tf.float32))
    assert [variable.path for variable in encoder.variables] == paths
    assert not any(isinstance(layer, Shift) for layer in encoder.adversarial_graph.layers)


def test_the_first_convolution_keeps_its_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    encoder = shaken(Encoder("resnet18", 0.1, image_shape=(16, 16, 3)))
    frozen = FrozenBranch(encoder, "adversarial")
    assert frozen.graph.get_layer("conv1").compute_dtype == "float32"
    assert frozen.freeze()(tf.constant(IMAGES, tf.float32)).dtype == tf.bfloat16
    images = tf.constant(IMAGES, tf.float32)
    actual, expected = (tf.cast(f(images), tf.float32) for f in (frozen.freeze(), encoder.adversarial_graph))
    assert np.linalg.norm(actual - expected) < 0.03 * np.linalg.norm(expected)
