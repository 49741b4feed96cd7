import keras
import numpy as np
import pytest

from acl_tf.models.batch_norm_folding import fold_batch_norm, foldable
from tests.export.tiny import difference, encoder, shaken

LARGE = np.random.default_rng(1).random((3, 32, 32, 3), np.float32)


def norms(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


@pytest.mark.parametrize(
    "arch, width, options, left",
    [
        ("resnet18", 0.1875, {}, 0),
        pytest.param("resnet34", 0.1875, {}, 0, marks=pytest.mark.slow),
        pytest.param("resnet50", 0.1875, {}, 0, marks=pytest.mark.slow),
        pytest.param("resnet18", 0.1875, {"stem": "imagenet"}, 0, marks=pytest.mark.slow),
        # The first normalisation of each of 12 blocks but the first reads a sum, and stays, as does the one at the end.
        pytest.param("wrn-28-10", 0.1, {}, 12, marks=pytest.mark.slow),
    ],
)
def test_outputs_are_the_same(arch, width, options, left):
    model = encoder(arch, width, 32, **options)
    before = [weight.copy() for weight in model.get_weights()]
    folded = fold_batch_norm(model)
    assert difference(folded(LARGE), model(LARGE)) < 1e-5
    assert difference(folded.predict(LARGE, verbose=0), model.predict(LARGE, verbose=0)) < 1e-5
    assert len(norms(folded)) == left
    assert len(norms(model)) > len(norms(folded))
    assert (folded.name, folded.input_shape, folded.output_shape) == (model.name, model.input_shape, model.output_shape)
    # The original is as it was, and shares nothing with the folded one.
    assert all((old == new).all() for old, new in zip(before, model.get_weights(), strict=True))
    for variable in folded.variables:
        variable.assign(variable.value * 0)
    assert all((old == new).all() for old, new in zip(before, model.get_weights(), strict=True))


def test_the_comparison_would_see_a_norm_that_is_left_out():
    model = encoder("resnet18")
    expected = model(LARGE[:, :16, :16])
    model.get_layer(norms(model)[0]).beta.assign_add(np.full(12, 0.01))
    assert difference(model(LARGE[:, :16, :16]), expected) > 1e-4


def test_where_the_norms_of_a_wide_resnet_stay():
    """One that follows a convolution that nothing else reads is folded; pre-activation norms are not."""
    model = encoder("wrn-28-10", 0.1)
    folded = fold_batch_norm(model)
    for name in set(norms(model)) - set(norms(folded)):
        (node,) = model.get_layer(name)._inbound_nodes
        (reader,) = (tensor._keras_history.operation for tensor in node.input_tensors)
        assert isinstance(reader, keras.layers.Conv2D)
        assert len(reader._outbound_nodes) == 1
    assert 0 < len(norms(folded)) < len(norms(model))


def build(layers) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    return shaken(keras.Model(inputs, layers(inputs)))


def convolution(**options) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(5, 3, **{"padding": "same", **options})


def read_twice(x):
    y = convolution()(x)
    return keras.layers.BatchNormalization()(y) + y


def called_twice(x):
    layer = keras.layers.Conv2D(3, 3, padding="same")
    return layer(keras.layers.BatchNormalization()(layer(x)))


def norm_called_twice(x):
    norm = keras.layers.BatchNormalization()
    return norm(convolution(name="a")(x)) + norm(convolution(name="b")(x))


def norm_of_other_axis(x):
    return keras.layers.BatchNormalization(axis=1)(convolution()(x))


@pytest.mark.parametrize(
    "layers, left",
    [
        (lambda x: keras.layers.BatchNormalization()(convolution(use_bias=True)(x)), 0),
        (lambda x: keras.layers.BatchNormalization(epsilon=0.1)(convolution(use_bias=False)(x)), 0),
        (lambda x: keras.layers.BatchNormalization(center=False, scale=False)(convolution()(x)), 0),
        (lambda x: keras.layers.BatchNormalization(scale=False)(convolution()(x)), 0),
        (lambda x: keras.layers.BatchNormalization()(convolution(activation="relu")(x)), 1),
        (lambda x: keras.layers.BatchNormalization()(keras.layers.BatchNormalization()(convolution()(x))), 1),
        (lambda x: keras.layers.BatchNormalization()(keras.layers.ReLU()(convolution()(x))), 1),
        (lambda x: keras.layers.BatchNormalization()(keras.layers.DepthwiseConv2D(3)(x)), None),
        (read_twice, 1),
        (called_twice, 1),
        (norm_called_twice, None),
        (norm_of_other_axis, 1),
    ],
)
def test_other_arrangements(layers, left):
    """`None`: either way, as long as the outputs are the same."""
    model, images = build(layers), LARGE[:, :8, :8]
    folded = fold_batch_norm(model)
    assert difference(folded(images), model(images)) < 1e-5
    assert left is None or len(norms(folded)) == left


def test_a_norm_that_hardly_varied():
    """Statistics of a dead channel: its variance is 0, epsilon is all that divides."""
    model = build(lambda x: keras.layers.BatchNormalization()(convolution()(x)))
    norm = model.layers[-1]
    norm.moving_variance.assign([0, 1e-8, 1, 100, 1e4])
    assert difference(fold_batch_norm(model)(LARGE[:, :8, :8]), model(LARGE[:, :8, :8])) < 1e-5


def test_a_sequential_model():
    layers = [convolution(), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Flatten()]
    model = shaken(keras.Sequential([keras.Input((8, 8, 3)), *layers]))
    folded = fold_batch_norm(model)
    assert norms(folded) == []
    images = LARGE[:, :8, :8]
    assert difference(folded(images), model(images)) < 1e-5


def test_what_the_model_returns_itself_is_not_folded():
    inputs = keras.Input((8, 8, 3))
    first, second = convolution(name="first")(inputs), convolution(name="second")(inputs)
    normalized = [keras.layers.BatchNormalization(name=f"bn_{number}")(x) for number, x in enumerate((first, second))]
    assert foldable(keras.Model(inputs, [first, *normalized])) == {"second": "bn_1"}


def test_a_graph_that_is_looked_at_does_not_change():
    model = encoder("resnet18")
    pairs = foldable(model)
    assert len(pairs) == 20 and pairs["layer1_0_conv1"] == "layer1_0_bn1"
    assert foldable(model) == pairs
    # A layer that has been called once more has no one output.
    assert all(layer.output is not None for layer in model.layers)
