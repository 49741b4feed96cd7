import functools
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.errors import UsageError
from acl_tf.export.pytorch import import_state
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from acl_tf.models.heads import MLPHead, ProjectionHead
from acl_tf.models.paired_batch_norm import PairedBatchNormalization
from acl_tf.models.paired_model import PairedModel, extract_branch
from tests.conftest import shared

IMAGES = np.random.default_rng(0).random((4, 16, 16, 3)).astype("float32")
SMALL: dict[str, Any] = {"width": 0.125, "image_shape": (16, 16, 3)}
ARCHS = {"resnet18": 0.125, "resnet50": 0.0625, "wrn-28-10": 0.05}
# Class, arguments, inputs, width of the outputs.
PAIRED_MODELS = {
    "encoder": (Encoder, {**SMALL, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}, IMAGES, 64),
    "single_encoder": (Encoder, {**SMALL, "batch_norm": "single", "stem": "imagenet"}, IMAGES, 64),
    "wide_encoder": (Encoder, {"arch": "wrn-28-10", "width": 0.05, "image_shape": (16, 16, 3)}, IMAGES, 32),
    "padded_encoder": (Encoder, {**SMALL, "batch_norm": "single", "stem_padding": 2}, IMAGES, 64),
    "mlp_head": (
        MLPHead,
        {"input_dim": 6, "widths": (5, 3), "batch_norm": "paired", "output_norm": True, "use_bias": False},
        IMAGES[:, 0, :2].reshape(4, 6),
        3,
    ),
    "head": (ProjectionHead, {"input_dim": 6, "blocks": 2, "synchronized": True}, IMAGES[:, 0, :2].reshape(4, 6), 6),
}


def randomize(model: keras.Model) -> keras.Model:
    """Gives every weight and statistic a value that is not the initial one."""
    random = np.random.default_rng(1)
    for variable in model.weights:
        if "normalize" not in variable.path:
            initial = variable.numpy()
            noise = (
                random.uniform(0.9, 1.1, initial.shape) if initial.std() else random.uniform(0.5, 1.5, initial.shape)
            )
            variable.assign(initial * noise + (0.1 * random.normal(size=initial.shape) if not initial.any() else 0))
    return model


@pytest.fixture(params=PAIRED_MODELS)
def case(request) -> tuple[type[PairedModel], dict[str, Any], np.ndarray, int]:
    return PAIRED_MODELS[request.param]


class TestEveryPairedModel:
    """What every layer owes to Keras, in the manner of keras-hub's `TestCase.run_layer_test`."""

    def test_arguments_are_attributes(self, case):
        cls, arguments, _, _ = case
        model = cls(**arguments)
        assert {name: getattr(model, name) for name in arguments} == arguments

    def test_config_round_trip(self, case):
        cls, arguments, inputs, _ = case
        model = randomize(cls(**arguments, name="model"))
        # Through JSON, as `keras.saving` writes it: tuples become lists.
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
        copy = keras.saving.deserialize_keras_object(config)
        assert type(copy) is cls
        assert copy.get_config() == model.get_config()
        assert set(arguments) < set(model.get_config())
        copy.set_weights(model.get_weights())
        for branch in Branch:
            np.testing.assert_array_equal(copy(inputs, branch=branch), model(inputs, branch=branch))

    def test_symbolic_and_eager_calls_agree(self, case):
        cls, arguments, inputs, width = case
        model = randomize(cls(**arguments))
        outputs = model(keras.Input(inputs.shape[1:]), branch="adversarial")
        assert outputs.shape == (None, width)
        assert model.compute_output_shape((7, *inputs.shape[1:])) == (7, width)
        eager = model(inputs, branch="adversarial")
        traced = tf.function(lambda x: model(x, branch="adversarial"))(tf.constant(inputs))
        assert eager.shape == (len(inputs), width)
        np.testing.assert_allclose(traced, eager, rtol=1e-4, atol=1e-5)

    def test_a_step_trains_one_branch(self, case):
        cls, arguments, inputs, _ = case
        model = randomize(cls(**arguments, name="model"))
        before = {variable.path: variable.numpy() for variable in model.weights}
        optimizer = keras.optimizers.SGD(0.1)

        @tf.function
        def step() -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(inputs, branch="standard", training=True) ** 3)
            pairs = zip(tape.gradient(loss, [v.value for v in model.trainable_variables]), model.trainable_variables)
            optimizer.apply_gradients([(gradient, variable) for gradient, variable in pairs if gradient is not None])
            return loss

        assert np.isfinite(step())
        moved = {v.path for v in model.weights if not np.array_equal(v.numpy(), before[v.path])}
        expected = {path for path in before if "/adversarial/" not in path and "normalize" not in path}
        expected -= {"fc1/bias"}  # the normalisation takes it out again
        assert moved - {"fc1/bias"} == expected

    @pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "float64"])
    def test_dtypes(self, case, policy):
        cls, arguments, inputs, _ = case
        keras.config.set_dtype_policy(policy)
        model = cls(**arguments)
        outputs = model(inputs, branch="standard", training=True)
        assert outputs.dtype == model.compute_dtype
        assert {variable.dtype for variable in model.trainable_variables} == {model.variable_dtype}
        assert np.all(np.isfinite(tf.cast(outputs, "float64")))


def test_input_is_normalised_by_mean_and_standard_deviation():
    layer = Encoder(**SMALL).standard_graph.get_layer("normalize")
    expected = (IMAGES - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(layer(IMAGES), expected, rtol=1e-5, atol=1e-6)


def test_mixed_precision_spares_images_normalisation_and_first_convolution():
    """bfloat16 would round a perturbation of 8/255 by 7 % of itself."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    encoder = Encoder(**SMALL)
    graph = encoder.standard_graph
    received = []
    normalize = graph.get_layer("normalize")
    original = normalize.call
    normalize.call = lambda images: received.append(images.numpy()) or original(images)
    encoder(tf.constant(IMAGES), branch="standard")
    np.testing.assert_array_equal(received[0], IMAGES)
    compute = {layer.name: layer.compute_dtype for layer in graph.layers}
    spared = ("normalize", "conv1")
    assert {compute.pop(name) for name in spared} == {"float32"}
    del compute["images"]
    assert set(compute.values()) == {"bfloat16"}


@pytest.mark.parametrize("arch, width", ARCHS.items())
def test_branches_share_everything_but_batch_norm(arch, width):
    encoder = randomize(Encoder(arch, width=width, image_shape=(16, 16, 3)))
    assert encoder.standard_graph.layers[1:] == encoder.adversarial_graph.layers[1:]  # all but the inputs
    norms = [layer for layer in encoder.standard_graph.layers if isinstance(layer, PairedBatchNormalization)]
    assert len(norms) > 15 and not any(
        isinstance(layer, keras.layers.BatchNormalization) for layer in encoder.standard_graph.layers
    )
    standard, adversarial = (encoder(IMAGES, branch=branch).numpy() for branch in Branch)
    assert not np.allclose(standard, adversarial, rtol=0.01)
    for norm in norms:
        norm.adversarial.set_weights(norm.standard.get_weights())
    np.testing.assert_array_equal(encoder(IMAGES, branch="adversarial"), standard)


def test_single_batch_norm_ignores_the_branch():
    encoder = randomize(Encoder(**SMALL, batch_norm="single"))
    standard, adversarial = (encoder(IMAGES, branch=branch) for branch in Branch)
    np.testing.assert_array_equal(standard, adversarial)


@functools.cache
def encoders() -> dict[str, Encoder]:
    paired = {arch: Encoder(arch, width=width, image_shape=(16, 16, 3)) for arch, width in ARCHS.items()}
    others = {"single": Encoder(**SMALL, batch_norm="single"), "imagenet": Encoder(**SMALL, stem="imagenet")}
    return {name: randomize(encoder) for name, encoder in (paired | others).items()}


@pytest.mark.parametrize("branch", Branch)
@pytest.mark.parametrize("name", [*ARCHS, "single", "imagenet"])
def test_an_extracted_branch_is_plain_and_computes_the_same(name, branch, recwarn):
    encoder = encoders()[name]
    plain = extract_branch(encoder, branch, name="plain")
    assert type(plain) is keras.Model or type(plain).__module__.startswith("keras.")
    for layer in plain.layers:
        assert type(layer).__module__.startswith("keras."), layer
    expected = encoder(IMAGES, branch=branch)
    np.testing.assert_allclose(plain(IMAGES), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert plain.name == "plain" and plain.output_shape == (None, encoder.feature_dim)
    assert not recwarn.list


def test_an_extracted_branch_has_its_own_weights():
    encoder = randomize(Encoder(**SMALL))
    plain = extract_branch(encoder, "adversarial")
    expected = plain(IMAGES).numpy()
    for variable in encoder.weights:
        variable.assign(variable + 0.1)
    np.testing.assert_array_equal(plain(IMAGES), expected)


def test_a_branch_extracted_from_mixed_precision_computes_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = randomize(Encoder(**SMALL))
    plain = extract_branch(mixed, "adversarial")
    assert {layer.compute_dtype for layer in plain.layers[1:]} == {plain.input.dtype} == {"float32"}
    keras.config.set_dtype_policy("float32")
    exact = Encoder(**SMALL)
    exact.set_weights(mixed.get_weights())
    np.testing.assert_allclose(plain(IMAGES), exact(IMAGES, branch="adversarial"), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_an_extracted_branch_opens_without_acl_tf(run_python, tmp_path):
    chosen = {name: encoders()[name] for name in ("resnet18", "resnet50", "wrn-28-10", "single")}
    for name, encoder in chosen.items():
        extract_branch(encoder, "adversarial").save(tmp_path / f"{name}.keras")
    np.savez(tmp_path / "images.npz", images=IMAGES)
    run_python(OPEN_WITHOUT_ACL_TF.format(folder=str(tmp_path)))
    with np.load(tmp_path / "outputs.npz") as outputs:
        assert set(outputs) == set(chosen)
        for name, encoder in chosen.items():
            expected = encoder(IMAGES, branch="adversarial")
            np.testing.assert_allclose(outputs[name], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


OPEN_WITHOUT_ACL_TF = """
import sys
sys.modules["acl_tf"] = None  # every import of it fails
from pathlib import Path
import keras, numpy
folder = Path({folder!r})
with numpy.load(folder / "images.npz") as arrays:
    images = arrays["images"]
models = {{file.stem: keras.saving.load_model(file) for file in folder.glob("*.keras")}}
numpy.savez(folder / "outputs.npz", **{{name: model(images) for name, model in models.items()}})
assert not [name for name in sys.modules if name.startswith("acl_tf.")]
"""


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (
            {"arch": "resnet81"},
            UsageError,
            'Unknown architecture; did you mean "resnet18"? '
            "Known: resnet10, resnet18, resnet34, resnet50, wrn-28-10, wrn-34-10. Received: 'resnet81'",
        ),
        (
            {"batch_norm": "dual"},
            ValueError,
            '`batch_norm` must be "paired" or "single". Received: batch_norm=\'dual\'',
        ),
        (
            {"stem_padding": 2, "stem": "imagenet"},
            ValueError,
            "`stem_padding` must be 1, or 2 with the stem \"cifar\". Received: stem_padding=2, stem='imagenet'",
        ),
        (
            {"stem_padding": 3},
            ValueError,
            "`stem_padding` must be 1, or 2 with the stem \"cifar\". Received: stem_padding=3, stem='cifar'",
        ),
        (
            {"stem_padding": 2, "arch": "wrn-28-10"},
            ValueError,
            "A wide residual network pads its stem by 1 only. Received: stem_padding=2",
        ),
        ({"stem": "mnist"}, ValueError, '`stem` must be "cifar" or "imagenet". Received: stem=\'mnist\''),
    ],
)
def test_invalid_arguments(arguments, error, message):
    with pytest.raises(error) as raised:
        Encoder(**arguments)
    assert str(raised.value) == message


def test_unknown_branch():
    with pytest.raises(ValueError, match="`branch` must be one of"):
        Encoder(**SMALL)(IMAGES, branch="pgd")


def test_saved_as_a_keras_file_it_keeps_both_branches(tmp_path: Path):
    encoder = encoders()["resnet18"]
    encoder.save(tmp_path / "encoder.keras")
    copy = keras.saving.load_model(tmp_path / "encoder.keras")
    for branch in Branch:
        np.testing.assert_array_equal(copy(IMAGES, branch=branch), encoder(IMAGES, branch=branch))


def test_deacls_network_with_its_padding():
    """The released network: features with the padding of 2, and 17 % off without."""
    with np.load(shared("parity", "deacl.npz")) as arrays:
        view, expected = arrays["step1/view"], arrays["eval/teacher_features"]
        state = {key.removeprefix("teacher/"): arrays[key] for key in arrays if key.startswith("teacher/")}
    mean, std = (state[f"normalize.{name}"].reshape(-1) for name in ("mean", "std"))
    imported = import_state(state).encoder
    encoder = Encoder(width=0.125, batch_norm="single", mean=mean, std=std, stem_padding=2)
    encoder.set_weights(imported.get_weights())
    assert encoder.standard_graph.get_layer("conv1").output.shape == (None, 34, 34, 8)
    np.testing.assert_allclose(encoder(view, branch="standard"), expected, atol=1e-5 * np.abs(expected).max())
    without = np.abs(imported(view, branch="standard") - expected).max()
    assert without > 0.05 * np.abs(expected).max()
