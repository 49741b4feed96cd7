import io
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from acl_tf.data.image_set import ImageSet
from acl_tf.errors import AclTfError, UsageError
from acl_tf.export import saved_model
from acl_tf.export.saved_model import decoded, export_saved_model, export_trainable_saved_model
from acl_tf.export.warm_up import write_warm_up_requests
from acl_tf.models.batch_norm_folding import fold_batch_norm
from acl_tf.safety.saved_model import check_saved_model, read_contents
from tests.export.tiny import FLOATS, IMAGES, SIZE, batches, difference
from tests.training.disk import LimitedFiles, SmallDisk

SHAPE = (SIZE, SIZE, 3)
LABELS = np.arange(len(IMAGES)) % 3


def encoded(image: np.ndarray | Image.Image, kind: str = "png", **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def gradual(height: int, width: int) -> np.ndarray:
    """An image as of a camera: slow changes, an edge, and some noise.

    Nothing is near black or white, where Pillow cuts off overshoots after each of its two passes, and TensorFlow once.
    """
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    channels = [60 + 100 * x, 60 + 100 * y * x, 110 + 50 * np.sin(9 * x + 5 * y)]
    image = np.stack(channels, -1) + 40 * (x > 0.5)[..., np.newaxis]
    return (image + np.random.default_rng(0).normal(0, 4, image.shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def loaded_encoder(saved_encoder):
    return tf.saved_model.load(str(saved_encoder))


@pytest.fixture(scope="module")
def loaded(saved_classifier):
    return tf.saved_model.load(str(saved_classifier))


@pytest.fixture
def loaded_trainable(saved_trainable):
    return tf.saved_model.load(str(saved_trainable))


@pytest.fixture(params=["saved_classifier", "saved_trainable"])
def saved(request) -> Path:
    return request.getfixturevalue(request.param)


class TestSignatures:
    def test_what_they_take_and_return(self, saved, saved_encoder):
        taken = {
            "serving_default": {"images": "float32 (?, 16, 16, 3)"},
            "uint8": {"images": "uint8 (?, 16, 16, 3)"},
            "image_bytes": {"image_bytes": "string (?)"},
        }
        logits = {"logits": "float32 (?, 3)", "probabilities": "float32 (?, 3)"}
        assert read_contents(saved).signatures == {name: (inputs, logits) for name, inputs in taken.items()}
        features = {"features": "float32 (?, 96)"}
        assert read_contents(saved_encoder).signatures == {name: (inputs, features) for name, inputs in taken.items()}

    def test_every_signature_computes_what_the_keras_model_does(self, loaded, classifier):
        for images in batches():
            expected = classifier(images) if len(images) else np.empty((0, 3))  # Keras' own call takes no empty batch
            pixels = tf.constant((images * 255).round().astype(np.uint8))
            for returned in (
                loaded.signatures["serving_default"](tf.constant(images)),
                loaded.signatures["uint8"](pixels),
                loaded.signatures["image_bytes"](tf.constant([encoded(image) for image in pixels.numpy()], tf.string)),
            ):
                assert returned.keys() == {"logits", "probabilities"}
                assert returned["logits"].shape == expected.shape
                if len(images):
                    assert difference(returned["logits"], expected) < 1e-5
                    assert difference(returned["probabilities"], keras.ops.softmax(expected)) < 1e-5

    def test_features_of_an_encoder(self, loaded_encoder, encoder):
        returned = loaded_encoder.signatures["serving_default"](tf.constant(FLOATS))
        assert returned.keys() == {"features"}
        assert difference(returned["features"], encoder(FLOATS)) < 1e-5

    def test_nothing_is_left_out_of_the_test_by_a_constant_output(self, classifier):
        logits = classifier(FLOATS).numpy()
        assert np.ptp(logits, axis=0).min() > 1e-3 * np.abs(logits).max()

    def test_no_signature_changes_the_model(self, saved_trainable):
        """Seen on a server: an exported training function that any client could call."""
        graph = meta_graph(saved_trainable)
        functions = {function.signature.name: function for function in graph.graph_def.library.function}
        for name, signature in graph.signature_def.items():
            if not name.startswith("__saved_model"):
                operations = operations_behind(graph, functions, signature.outputs.values())
                assert "Conv2D" in operations, name
                assert not {operation for operation in operations if operation.startswith("Assign")}, name

    def test_the_model_for_inference_has_nothing_else(self, loaded):
        assert not callable(loaded)
        assert not hasattr(loaded, "trainable_variables")
        assert "AssignVariableOp" not in {
            node.op
            for function in loaded.signatures.values()
            for definition in function.graph.as_graph_def().library.function
            for node in definition.node_def
        }

    def test_both_are_allowed_by_the_safety_check(self, saved):
        check_saved_model(saved)

    def test_it_is_complete_in_itself(self, saved):
        files = sorted(file.relative_to(saved).as_posix() for file in saved.rglob("*") if file.is_file())
        assert files == [
            "assets.extra/tf_serving_warmup_requests",
            "fingerprint.pb",
            "saved_model.pb",
            "variables/variables.data-00000-of-00001",
            "variables/variables.index",
        ]

    @pytest.mark.parametrize("export", [export_saved_model, export_trainable_saved_model])
    @pytest.mark.parametrize("shape", [(None, None, 3), (16, None, 3), (16,)])
    def test_a_model_of_no_fixed_size(self, tmp_path, export, shape):
        inputs = keras.Input(shape)
        model = keras.Model(inputs, keras.layers.ReLU()(inputs))
        with pytest.raises(UsageError) as error:
            export(model, tmp_path / "none", "encoder")
        assert str(error.value) == (
            f"A served model takes images of one size, (batch, height, width, 3). Received: {(None, *shape)}"
        )
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("channels", [2, 4])
    def test_a_model_of_other_channels(self, tmp_path, channels):
        inputs = keras.Input((16, 16, channels))
        with pytest.raises(UsageError) as error:
            export_saved_model(keras.Model(inputs, keras.layers.ReLU()(inputs)), tmp_path / "none", "encoder")
        assert str(error.value) == (
            f"A served model takes images of 3 channels, or of 1. Received: (None, 16, 16, {channels})"
        )
        assert list(tmp_path.iterdir()) == []


class TestFullDisk:
    @pytest.fixture
    def tiny(self) -> keras.Model:
        return keras.Sequential([keras.layers.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])

    @pytest.mark.parametrize("export", [export_saved_model, export_trainable_saved_model])
    @pytest.mark.parametrize("disk", [SmallDisk, LimitedFiles])
    def test_a_full_disk(self, tmp_path, tiny, export, disk):
        disk = disk(tmp_path / "disk")
        with disk.mounted(2**16):
            with disk.full(), pytest.raises(AclTfError) as error:
                export(tiny, disk.path / "model", "classifier")
            assert str(error.value) == f"Cannot write a SavedModel into {disk.path}: {disk.reason}."

    @pytest.mark.parametrize("disk", [SmallDisk, LimitedFiles])
    def test_a_disk_that_is_full_before_the_warm_up_requests(self, tmp_path, tiny, monkeypatch, disk):
        disk = disk(tmp_path / "disk")

        def fills(path: Path, shape: tuple[int, int, int]) -> None:
            with disk.full():
                write_warm_up_requests(path, (160, 160, 3))  # more than what is left of a page

        monkeypatch.setattr(saved_model, "write_warm_up_requests", fills)
        with disk.mounted(2**20):
            with pytest.raises(AclTfError) as error:
                export_saved_model(tiny, disk.path / "model", "classifier")
            assert str(error.value) == f"Cannot write a SavedModel into {disk.path}: {disk.reason}."

    @pytest.mark.parametrize("message, reason", [
        ("{{function_node __wrapped__SaveV2}} /x/part; No space left on device [Op:SaveV2]", "No space left on device"),
        ("/x/saved_model.pb; Input/output error", "Input/output error"),
        ("something\nelse", "something else"),
    ])  # fmt: skip
    def test_what_tensorflow_says(self, tmp_path, tiny, monkeypatch, message, reason):
        def fails(*_, **__):
            raise tf.errors.ResourceExhaustedError(None, None, message)

        monkeypatch.setattr(tf.saved_model, "save", fails)
        with pytest.raises(AclTfError) as error:
            export_saved_model(tiny, tmp_path / "model", "classifier")
        assert str(error.value) == f"Cannot write a SavedModel into {tmp_path}: {reason}."


def meta_graph(folder: Path):
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    (graph,) = saved.meta_graphs
    return graph


def operations_behind(graph, functions, ends) -> set[str]:
    """All operations that run for these outputs, those in functions included; written apart from what is tested."""
    nodes = {node.name: node for node in graph.graph_def.node}
    found, seen, waiting = set(), set(), [nodes[end.name.split(":")[0]] for end in ends]
    while waiting:
        node = waiting.pop()
        found.add(node.op)
        called = {value.func.name for value in node.attr.values()}
        called |= {function.name for value in node.attr.values() for function in value.list.func}
        for name in ({node.op} | called) & functions.keys() - seen:
            seen.add(name)
            waiting += functions[name].node_def
        for tensor in node.input:
            name = tensor.removeprefix("^").split(":")[0]
            if nodes.get(name) is not None and name not in seen:
                seen.add(name)
                waiting.append(nodes[name])
    return found


class TestDecoding:
    """`image_bytes` against Pillow, which resizes training data."""

    @pytest.mark.parametrize("side", [7, 16, 24, 33, 64, 200])
    @pytest.mark.parametrize("kind", ["png", "jpeg"])
    def test_square_images(self, kind, side):
        file = encoded(gradual(side, side), kind)
        opened = np.asarray(Image.open(io.BytesIO(file)))
        expected = ImageSet(opened[np.newaxis], None, (), "", "").resized(SIZE).images[0]
        levels = np.abs(read(file).astype(int) - expected)
        assert levels.max() <= 1 and levels.mean() < 0.3  # Pillow computes in fixed-point numbers

    def test_other_sizes_are_squeezed(self):
        wide = gradual(20, 60)
        expected = np.asarray(Image.fromarray(wide).resize((SIZE, SIZE), Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(read(encoded(wide)).astype(int) - expected).max() <= 1

    def test_an_image_of_the_right_size_is_unchanged(self):
        np.testing.assert_array_equal(read(encoded(IMAGES[0])), IMAGES[0])

    @pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA"])
    @pytest.mark.parametrize("side", [SIZE, 40])
    def test_other_kinds_of_pixels(self, mode, side):
        image = Image.fromarray(gradual(side, side))
        image = image.quantize(64) if mode == "P" else image.convert(mode)
        rgb = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        assert np.abs(read(encoded(image)).astype(int) - np.asarray(rgb)).max() <= 1

    def test_grey_jpeg(self):
        grey = Image.fromarray(gradual(SIZE, SIZE)).convert("L")
        file = encoded(grey, "jpeg")
        expected = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        np.testing.assert_array_equal(read(file), expected)

    def test_a_batch_of_different_kinds_and_sizes(self, loaded):
        files = [encoded(gradual(32, 40)), encoded(gradual(90, 20), "jpeg"), encoded(Image.new("L", (5, 5), 7))]
        together = loaded.signatures["image_bytes"](tf.constant(files))["logits"]
        alone = [loaded.signatures["image_bytes"](tf.constant([file]))["logits"][0] for file in files]
        assert difference(together, np.stack(alone)) < 1e-5

    @pytest.mark.parametrize(
        "file",
        [b"", b"no image at all", encoded(IMAGES[0])[:60], encoded(IMAGES[0], "jpeg")[:300], b"\x89PNG\r\n\x1a\n"],
        ids=["empty", "text", "truncated png", "truncated jpeg", "header only"],
    )
    def test_what_is_no_image(self, loaded, file):
        with pytest.raises(tf.errors.InvalidArgumentError):
            loaded.signatures["image_bytes"](tf.constant([encoded(IMAGES[0]), file]))


def read(file: bytes) -> np.ndarray:
    (image,) = decoded(tf.constant([file]), SHAPE)
    return image.numpy()


def test_warm_up_requests(saved, loaded, classifier):
    """They ask each signature once, for what it can answer."""
    from tensorflow_serving.apis import prediction_log_pb2

    asked = []
    for record in tf.data.TFRecordDataset(str(saved / "assets.extra" / "tf_serving_warmup_requests")):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        name = request.model_spec.signature_name
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        returned = loaded.signatures[name](**inputs)
        assert difference(returned["logits"], classifier(np.full((1, *SHAPE), 127 / 255, "float32"))) < 1e-5
        asked.append(name)
    assert sorted(asked) == sorted(loaded.signatures) == ["image_bytes", "serving_default", "uint8"]


class TestTrainable:
    def test_it_follows_the_interface_of_reusable_saved_models(self, loaded_trainable, classifier):
        names = [variable.name for variable in loaded_trainable.trainable_variables]
        assert len(names) == len(classifier.trainable_variables)
        assert len(loaded_trainable.variables) == len(classifier.variables)
        assert list(loaded_trainable.regularization_losses) == []
        assert callable(loaded_trainable)

    def test_it_computes_what_the_keras_model_does(self, loaded_trainable, classifier):
        copy = keras.models.clone_model(classifier)
        copy.set_weights(classifier.get_weights())
        for training in (False, True):
            assert difference(loaded_trainable(FLOATS, training=training), copy(FLOATS, training=training)) < 1e-5
        assert difference(loaded_trainable(FLOATS), copy(FLOATS)) < 1e-5  # with the statistics that training left

    def test_only_training_moves_the_statistics(self, loaded_trainable):
        def moving() -> list[np.ndarray]:
            trained = {id(variable) for variable in loaded_trainable.trainable_variables}
            return [variable.numpy() for variable in loaded_trainable.variables if id(variable) not in trained]

        before = moving()
        assert len(before) == 40  # mean and variance of 20 layers
        images = tf.constant(FLOATS)
        loaded_trainable(images)
        loaded_trainable(images, training=False)
        loaded_trainable.signatures["serving_default"](images)
        assert all((old == new).all() for old, new in zip(before, moving(), strict=True))
        loaded_trainable(images, training=True)
        changed = [(old != new).any() for old, new in zip(before, moving(), strict=True)]
        assert all(changed)

    @pytest.mark.slow
    @pytest.mark.parametrize("training", [False, True])
    def test_gradients_are_those_of_the_keras_model(self, loaded_trainable, classifier, training):
        copy = keras.models.clone_model(classifier)
        copy.set_weights(classifier.get_weights())
        expected = gradients(copy, [variable.value for variable in copy.trainable_variables], training)
        actual = gradients(loaded_trainable, loaded_trainable.trainable_variables, training)
        for mine, theirs in zip(actual, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * max(np.abs(g).max() for g in expected))
        assert max(np.abs(g).max() for g in actual) > 1e-3

    @pytest.mark.slow
    def test_some_steps_lower_the_loss(self, loaded_trainable):
        losses = []
        for _ in range(6):
            with tf.GradientTape() as tape:
                loss = loss_of(loaded_trainable, training=True)
            variables = list(loaded_trainable.trainable_variables)
            for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
                variable.assign_sub(0.003 * tf.sign(gradient))
            losses.append(float(loss))
        assert losses[-1] < 0.5 * losses[0]
        # What is served is what was trained.
        served = loaded_trainable.signatures["serving_default"](tf.constant(FLOATS))["logits"]
        assert difference(served, loaded_trainable(FLOATS)) < 1e-5


def loss_of(model, training: bool) -> tf.Tensor:
    logits = model(tf.constant(FLOATS), training=training)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=LABELS))


def gradients(model, variables, training: bool) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        loss = loss_of(model, training)
    return [gradient.numpy() for gradient in tape.gradient(loss, list(variables))]


WITHOUT_KERAS = """
import sys

for name in ("keras", "tf_keras", "acl_tf"):
    sys.modules[name] = None  # any import of it fails
import numpy as np
import tensorflow as tf

folder, images, logits = sys.argv[1:]
try:
    import keras
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("keras was imported")
loaded = tf.saved_model.load(folder)
returned = loaded.signatures["serving_default"](tf.constant(np.load(images)))["logits"]
np.save(logits, returned)
if hasattr(loaded, "trainable_variables"):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(loaded(tf.constant(np.load(images)), training=True) ** 2)
    assert all(gradient is not None for gradient in tape.gradient(loss, list(loaded.trainable_variables)))
"""


@pytest.mark.slow
def test_where_keras_cannot_be_imported(saved, classifier, tmp_path):
    np.save(tmp_path / "images.npy", FLOATS)
    arguments = [saved, tmp_path / "images.npy", tmp_path / "logits.npy"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_KERAS, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert difference(np.load(tmp_path / "logits.npy"), classifier(FLOATS)) < 1e-5


def saved_model_cli(*arguments: object) -> str:
    command = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_saved_model_cli_shows_it(saved_classifier):
    shown = saved_model_cli("show", "--dir", saved_classifier, "--all")
    for name in ("serving_default", "uint8", "image_bytes"):
        assert f"signature_def['{name}']:" in shown
    assert "shape: (-1, 16, 16, 3)" in shown and "DT_UINT8" in shown and "DT_STRING" in shown
    assert "Method name is: tensorflow/serving/predict" in shown


@pytest.mark.slow
def test_saved_model_cli_runs_it(saved_classifier, classifier, tmp_path):
    np.save(tmp_path / "images.npy", FLOATS)
    arguments = ["--dir", saved_classifier, "--tag_set", "serve", "--signature_def", "serving_default"]
    saved_model_cli("run", *arguments, "--inputs", f"images={tmp_path / 'images.npy'}", "--outdir", tmp_path)
    assert difference(np.load(tmp_path / "logits.npy"), classifier(FLOATS)) < 1e-5


@pytest.mark.slow
def test_the_folded_saved_model_has_no_normalisation(tmp_path, encoder):
    export_saved_model(encoder, tmp_path / "plain", "encoder")
    export_saved_model(fold_batch_norm(encoder), tmp_path / "folded", "encoder")
    plain, folded = read_contents(tmp_path / "plain"), read_contents(tmp_path / "folded")
    assert folded.signatures == plain.signatures
    assert folded.operations["Conv2D"] == plain.operations["Conv2D"] > 0
    assert folded.operations["Rsqrt"] == 0 < plain.operations["Rsqrt"]
