import keras
import numpy as np
import pytest

from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import MLPHead, ProjectionHead, linear_classifier
from acl_tf.models.paired_model import extract_branch
from tests.reference import batch_norm as reference

FEATURES = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")


def dense(head: ProjectionHead, block: int) -> keras.layers.Dense:
    return head.standard_graph.get_layer(f"fc{block}")


def oracle(head: ProjectionHead, x: np.ndarray, branch: Branch, training: bool) -> np.ndarray:
    """Dense, batch normalisation and, between blocks, ReLU."""
    for block in range(1, head.blocks + 1):
        x = np.maximum(x, 0) if block > 1 else x
        layer, norm = dense(head, block), head.standard_graph.get_layer(f"bn{block}").of(branch)
        x = x @ layer.kernel.numpy() + (layer.bias.numpy() if layer.use_bias else 0)
        mean, variance, _ = reference.batch_statistics(x)
        if not training:
            mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
        x = reference.normalize(x, mean, variance, norm.gamma.numpy(), norm.beta.numpy(), 1e-5)
    return x


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("branch", Branch)
def test_projection_head_matches_the_oracle(blocks, branch):
    head = ProjectionHead(6, blocks=blocks)
    random = np.random.default_rng(1)
    for variable in head.weights:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    for training in (True, False):
        expected = oracle(head, FEATURES, branch, training)
        np.testing.assert_allclose(head(FEATURES, branch=branch, training=training), expected, rtol=1e-4, atol=1e-4)


def test_projection_head_is_the_released_one_by_default():
    head = ProjectionHead(6)
    assert [head.blocks, head.batch_norm] == [3, "paired"]
    assert [dense(head, block).use_bias for block in (1, 2, 3)] == [True, False, False]
    assert head(FEATURES, branch="standard").shape == (8, 6)


def test_projection_head_is_initialised_as_in_pytorch():
    kernel = dense(ProjectionHead(256), 1).kernel.numpy()
    bound = 1 / np.sqrt(256)
    assert np.abs(kernel).max() == pytest.approx(bound, rel=1e-3)
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize("blocks", [0, -1])
def test_projection_head_needs_a_block(blocks):
    with pytest.raises(ValueError) as error:
        ProjectionHead(6, blocks=blocks)
    assert str(error.value) == f"`blocks` must be at least 1. Received: blocks={blocks}"


def mlp_oracle(head: MLPHead, x: np.ndarray, branch: Branch, training: bool) -> np.ndarray:
    """Dense, batch normalisation where the head has it, ReLU but after the last."""
    layers = {layer.name: layer for layer in head.standard_graph.layers}
    for number in range(1, len(head.widths) + 1):
        dense = layers[f"fc{number}"]
        x = x @ dense.kernel.numpy() + (dense.bias.numpy() if dense.use_bias else 0)
        if f"bn{number}" in layers:
            norm = layers[f"bn{number}"]
            norm = norm.of(branch) if head.batch_norm == "paired" else norm
            mean, variance, _ = reference.batch_statistics(x)
            if not training:
                mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
            x = reference.normalize(x, mean, variance, norm.gamma.numpy(), norm.beta.numpy(), 1e-5)
        x = np.maximum(x, 0) if number < len(head.widths) else x
    return x


@pytest.mark.parametrize(
    "widths, options, norms",
    [
        ((20, 4), {}, []),
        ((7,), {}, []),
        ((9, 4), {"batch_norm": "single"}, ["bn1"]),
        ((9, 7, 4), {"batch_norm": "paired", "output_norm": True}, ["bn1", "bn2", "bn3"]),
        ((9, 4), {"batch_norm": "paired", "use_bias": False}, ["bn1"]),
    ],
)
@pytest.mark.parametrize("branch", Branch)
def test_mlp_head_matches_the_oracle(widths, options, norms, branch):
    head = MLPHead(6, widths, **options)
    assert [layer.name for layer in head.standard_graph.layers if layer.name.startswith("bn")] == norms
    assert len([v for v in head.weights if "/bias" in v.path]) == (len(widths) if head.use_bias else 0)
    random = np.random.default_rng(1)
    for variable in head.weights:
        variable.assign(random.uniform(-0.5, 0.5, variable.shape) + (1 if len(variable.shape) == 1 else 0))
    for training in (True, False):
        expected = mlp_oracle(head, FEATURES, branch, training)
        assert expected.shape == (8, widths[-1])
        np.testing.assert_allclose(head(FEATURES, branch=branch, training=training), expected, rtol=1e-4, atol=1e-4)


def test_mlp_head_is_initialised_as_in_pytorch():
    head = MLPHead(256, (4096, 1024))
    for name, inputs in (("fc1", 256), ("fc2", 4096)):
        bound = 1 / np.sqrt(inputs)
        for values in head.standard_graph.get_layer(name).get_weights():
            assert np.abs(values).max() == pytest.approx(bound, rel=1e-2)
            assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"widths": ()}, "`widths` must be one or more positive numbers. Received: widths=()"),
        ({"widths": (3, 0)}, "`widths` must be one or more positive numbers. Received: widths=(3, 0)"),
        (
            {"widths": (3,), "batch_norm": "dual"},
            '`batch_norm` must be "none", "single" or "paired". Received: batch_norm=\'dual\'',
        ),
        (
            {"widths": (3,), "output_norm": True},
            '`output_norm` needs a `batch_norm`. Received: output_norm=True, batch_norm="none"',
        ),
    ],
)
def test_mlp_head_that_cannot_be(arguments, message):
    with pytest.raises(ValueError) as error:
        MLPHead(6, **arguments)
    assert str(error.value) == message


def test_linear_classifier_starts_at_zero_and_shares_the_encoder():
    images = np.random.default_rng(0).random((4, 16, 16, 3)).astype("float32")
    encoder = extract_branch(Encoder(width=0.0625, image_shape=(16, 16, 3)), "adversarial", name="plain")
    classifier = linear_classifier(encoder, 10)
    assert classifier.name == "plain_classifier"
    np.testing.assert_array_equal(classifier(images), np.zeros((4, 10)))
    assert classifier.layers[:-1] == encoder.layers
    kernel, bias = np.ones((32, 10)), np.arange(10.0)
    classifier.layers[-1].set_weights([kernel, bias])
    np.testing.assert_allclose(classifier(images), encoder(images).numpy() @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_linear_classifier_computes_in_float32_under_mixed_precision():
    encoder = extract_branch(Encoder(width=0.0625, image_shape=(16, 16, 3)), "standard")
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert linear_classifier(encoder, 10).layers[-1].compute_dtype == "float32"
