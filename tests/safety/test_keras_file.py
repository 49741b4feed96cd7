"""`.keras` files that would do more than compute: each refused by its own message, before Keras opens it."""

import contextlib
import json
import shutil
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import acl_tf
from acl_tf.safety.keras_file import check_keras_file
from tests.safety import hostile
from tests.safety.hostile import layer, rewritten, with_config, with_weights

ACTED: list[str] = []


@keras.saving.register_keras_serializable(package="evil")
class Layer(keras.layers.Layer):
    """In the process that loads a file, it is known."""

    def __init__(self, **kwargs: Any) -> None:
        ACTED.append("layer")
        super().__init__(**kwargs)

    def call(self, x):
        return x


@keras.saving.register_keras_serializable(package="evil")
class Initializer(keras.initializers.Initializer):
    def __init__(self) -> None:
        ACTED.append("initializer")

    def __call__(self, shape, dtype=None):
        return keras.ops.zeros(shape, dtype)


@pytest.fixture
def file(tmp_path) -> Path:
    hostile.keras_model().save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def as_layer(**entry: Any):
    """Puts something else in the place of a layer."""

    def change(config: dict[str, Any]) -> None:
        layer(config, "GlobalAveragePooling2D").update({"registered_name": None, **entry})

    return with_config(change)


def dense(key: str, value: Any):
    return with_config(lambda config: layer(config, "Dense")["config"].update({key: value}))


def named(kind: str, module: str = "keras.layers", **config: Any):
    return as_layer(module=module, class_name=kind, config={"name": "pool", **config})


def a_lambda(file: Path) -> None:
    """Saved by Keras itself; with `safe_mode=False` it would write the marker."""
    marker = str(file.with_name("marker"))
    inputs = keras.Input((16, 16, 3))
    outputs = keras.layers.Lambda(lambda x: [open(marker, "w").close(), x][1], output_shape=(16, 16, 3))(inputs)
    keras.Model(inputs, outputs).save(file)
    Path(marker).unlink(missing_ok=True)


def link(kind: Any):
    return with_weights(lambda weights: weights.__setitem__("elsewhere", kind))


def external(weights: h5py.File) -> None:
    weights.create_dataset("elsewhere", (4,), "uint8", external=[("/etc/passwd", 0, 4)])


def virtual(weights: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "data", shape=(4,))
    weights.create_virtual_dataset("elsewhere", layout)


def huge(weights: h5py.File) -> None:
    """A kilobyte of file, 5 TB of zeros."""
    weights.create_dataset("zeros", (4, 3 * 10**11), "f4", chunks=(1, 1024), compression="gzip")


def many_large(weights: h5py.File) -> None:
    for number in range(5):
        weights.create_dataset(f"zeros{number}", (2**28,), "f4", chunks=(1024,))


def extra(name: str):
    return lambda file: rewritten(file, lambda members: members.update({name: b"x"}))


def duplicate(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", config)


def compressed(file: Path) -> None:
    """A zip bomb: 20 kB that unpack to 20 MB, and so on."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content + b" " * 2 * 10**7 * (name == "config.json"))


def pretending(name: str, size: int):
    """The directory of the zip file says that a member is that large."""

    def change(file: Path) -> None:
        content = bytearray(file.read_bytes())
        at = content.rindex(name.encode()) - 46
        assert content[at : at + 4] == b"PK\x01\x02"
        struct.pack_into("<I", content, at + 24, size)
        file.write_bytes(content)

    return change


def config_text(text: bytes):
    return lambda file: rewritten(file, lambda members: members.update({"config.json": text}))


def cut(share: float):
    return lambda file: file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


def cut_weights(file: Path) -> None:
    rewritten(file, lambda members: members.update({"model.weights.h5": members["model.weights.h5"][:3000]}))


def without(name: str):
    return lambda file: rewritten(file, lambda members: members.pop(name))


RUNS = "FILE holds a layer that runs code or reads files; it was not loaded. Received: {}"
OTHER = "FILE is not a Keras model of built-in layers; it was not loaded. Received: {}"
REGISTERED = "FILE names a registered class; it was not loaded. Received: {}"
CONTENTS = "FILE has other contents than a .keras file of built-in layers. Received: {}"
COMPRESSED = "FILE is compressed, as Keras does not write it. Received: {}"
UNPACKS = "FILE unpacks to more than a model holds. Received: {}"
DAMAGED = "FILE is damaged: its {}"
ELSEWHERE = "FILE has weights that are a link elsewhere. Received: //{}"
NO_NUMBERS = "FILE has weights that are not numbers. Received: //{}"
OTHER_FILE = "FILE has weights that lie in another file. Received: /elsewhere"
NO_ZIP = "FILE is not a .keras file: File is not a zip file"

CASES = {
    "Lambda": (a_lambda, RUNS.format("Lambda")),
    "TFSMLayer": (named("TFSMLayer", filepath="/tmp/hostile"), RUNS.format("TFSMLayer")),
    "StringLookup": (named("StringLookup", vocabulary="/etc/passwd"), RUNS.format("StringLookup")),
    "TorchModuleWrapper": (named("TorchModuleWrapper", module="AAAA"), RUNS.format("TorchModuleWrapper")),
    "JaxLayer": (named("JaxLayer"), RUNS.format("JaxLayer")),
    "a module behind a name of Keras": (
        as_layer(module="keras_hub", class_name="Tokenizer", registered_name="keras", config={"name": "pool"}),
        OTHER.format("keras_hub.Tokenizer"),
    ),
    "Keras' own module behind it": (
        as_layer(
            module="keras.src.layers.preprocessing.index_lookup",
            class_name="IndexLookup",
            registered_name="keras",
            config={"name": "pool"},
        ),
        OTHER.format("keras.src.layers.preprocessing.index_lookup.IndexLookup"),
    ),
    "a registered name of Keras": (
        as_layer(module="keras.layers", class_name="ReLU", registered_name="keras", config={"name": "pool"}),
        REGISTERED.format("'keras'"),
    ),
    "os": (named("system", "os", command="touch marker"), OTHER.format("os.system")),
    "subprocess": (named("Popen", "subprocess", args=["touch", "marker"]), OTHER.format("subprocess.Popen")),
    "builtins": (named("eval", "builtins"), OTHER.format("builtins.eval")),
    "another module of Keras": (named("get_file", "keras.utils"), OTHER.format("keras.utils.get_file")),
    "inside of Keras": (
        named("Lambda2", "keras.src.layers.core.lambda_layer"),
        OTHER.format("keras.src.layers.core.lambda_layer.Lambda2"),
    ),
    "Lambda by a path": (named("layers.Lambda", "keras"), OTHER.format("keras.layers.Lambda")),
    "TFSMLayer by a path": (named("layers.TFSMLayer", "keras"), OTHER.format("keras.layers.TFSMLayer")),
    "a function": (
        dense("activation", {"module": "keras", "class_name": "function", "config": "utils.get_file"}),
        OTHER.format("keras.function"),
    ),
    "a lambda": (dense("activation", {"class_name": "__lambda__", "config": {"value": "AAAA"}}), "None.__lambda__"),
    "a type": (
        dense("x", {"module": "keras", "class_name": "__typespec__", "spec_name": "Model", "config": []}),
        OTHER.format("keras.__typespec__"),
    ),
    "a registered layer": (
        as_layer(module="evil", class_name="Layer", registered_name="evil>Layer", config={"name": "pool"}),
        OTHER.format("evil>Layer.Layer"),
    ),
    "a registered layer under a built-in name": (
        as_layer(module="keras.layers", class_name="ReLU", registered_name="evil>Layer", config={"name": "pool"}),
        OTHER.format("evil>Layer.ReLU"),
    ),
    "a registered initialiser as a string": (
        dense("kernel_initializer", "evil>Initializer"),
        REGISTERED.format("'evil>Initializer'"),
    ),
    "no module": (named("ReLU", None), OTHER.format("None.ReLU")),
    "nested": (
        named("TimeDistributed", layer={"module": "os", "class_name": "popen", "config": {}}),
        OTHER.format("os.popen"),
    ),
    "soft link": (link(h5py.SoftLink("/layers")), ELSEWHERE.format("elsewhere")),
    "external link": (link(h5py.ExternalLink("/etc/hosts", "/")), "FILE has weights that are a link elsewhere."),
    "external data": (with_weights(external), OTHER_FILE),
    "virtual data": (with_weights(virtual), "FILE has weights that lie in another file."),
    "a type among the weights": (link(np.dtype("f8")), NO_NUMBERS.format("elsewhere")),
    "a group in itself": (
        with_weights(lambda weights: weights.__setitem__("layers/loop", weights["layers"])),
        "FILE has weights in groups that hold each other. Received: /layers/loop/loop",
    ),
    "huge weights": (with_weights(huge), UNPACKS.format("model.weights.h5/zeros")),
    "many large weights": (with_weights(many_large), UNPACKS.format("model.weights.h5/zeros3")),
    "extra member": (extra("assets/run.py"), CONTENTS.format("'assets/run.py'")),
    "zip slip": (extra("../../marker"), CONTENTS.format("'../../marker'")),
    "absolute member": (extra("/etc/cron.d/marker"), CONTENTS.format("'/etc/cron.d/marker'")),
    "member twice": (duplicate, CONTENTS.format("'config.json'")),
    "pickled weights": (extra("model.weights.npz"), CONTENTS.format("'model.weights.npz'")),
    "compressed": (compressed, COMPRESSED.format("'config.json'") + "|" + COMPRESSED.format("'metadata.json'")),
    "large config": (pretending("config.json", 2**30), UNPACKS.format("'config.json'")),
    "no weights": (without("model.weights.h5"), CONTENTS.format("'model.weights.h5'")),
    "no config": (without("config.json"), "FILE has other contents than a .keras file of built-in layers."),
    "no JSON": (config_text(b'{"module": '), DAMAGED.format("config.json is not JSON (Expecting value")),
    "no object": (config_text(b"[1]"), DAMAGED.format("config.json describes no model.")),
    "odd class": (config_text(b'{"class_name": []}'), "FILE is damaged: its config.json describes no model."),
    "deep": (
        config_text(b'{"a":' * 10**5 + b"1" + b"}" * 10**5),
        DAMAGED.format("config.json is not JSON (maximum recursion depth exceeded"),
    ),
    "long number": (config_text(b"1" * 5000), DAMAGED.format("config.json is not JSON (Exceeds the limit")),
    "text": (lambda file: file.write_text("no zip"), NO_ZIP),
    "empty": (lambda file: file.write_bytes(b""), NO_ZIP),
    "truncated": (cut(0.5), NO_ZIP),
    "truncated by a little": (cut(0.99), NO_ZIP),
    "truncated weights": (cut_weights, DAMAGED.format("model.weights.h5 cannot be read (")),
    "sparse": (
        lambda file: hostile.sparse(file, 10 * 2**30),
        "FILE is too large for what it is called; it was not read. Received: 10.0 GiB, where 4 GiB are the most",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(file, folder, refusals, case):
    """Alone, and in a model folder whose manifest fits."""
    spoil, expected = CASES[case]
    spoil(file)
    ACTED.clear()
    messages = refusals(file, "load", "inspect", "export", "evaluate")
    assert len(messages) == 1
    (message,) = messages
    message = message.replace("MODEL", "FILE")
    assert any(part in message for part in expected.split("|")), message
    if case != "sparse":  # here the manifest would be made of 10 GB
        shutil.copyfile(file, folder / "model.keras")
        hostile.signed(folder)
        again = refusals(folder, "load", "inspect", "export", "evaluate")
        assert {text.replace("MODEL/model.keras", "FILE") for text in again} == {message}
    assert ACTED == []
    assert not file.with_name("marker").exists()


def test_a_lambda_is_hostile(file):
    a_lambda(file)
    model = keras.saving.load_model(file, safe_mode=False)
    model(np.zeros((1, 16, 16, 3)))
    assert file.with_name("marker").exists()


def test_registered_classes_are_hostile(file):
    """Keras' safe mode makes objects of classes that the process knows."""
    for case in ("a registered layer", "a registered initialiser as a string"):
        hostile.keras_model().save(file)
        CASES[case][0](file)
        ACTED.clear()
        with contextlib.suppress(TypeError, ValueError):  # what becomes of it afterwards does not matter
            keras.saving.load_model(file, compile=False, safe_mode=True)
        assert ACTED, case


def test_nothing_is_unpickled(file, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("unpickled")

    import marshal
    import pickle

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (marshal, "loads")):
        monkeypatch.setattr(module, name, refuse)
    assert acl_tf.load(file)(np.zeros((1, 16, 16, 3))).shape == (1, 3)


def test_what_compiling_names_does_not_matter(file):
    """Models are loaded without it, so it is not read either."""
    with_config(lambda config: config.update(compile_config={"loss": {"class_name": "system", "module": "os"}}))(file)
    check_keras_file(file)
    assert acl_tf.load(file).compiled is False


def test_a_pipe(tmp_path, refusals):
    """Opening it would wait for ever."""
    import os

    os.mkfifo(tmp_path / "pipe.keras")
    for message in refusals(tmp_path / "pipe.keras", "load", "inspect", "export", "evaluate"):
        assert message in ("No such file. Received: 'MODEL'", "No such .keras file. Received: 'MODEL'")


@pytest.mark.slow
def test_every_published_architecture_is_let_through(tmp_path):
    from tests.export import tiny

    for arch, width in (("resnet18", 0.0625), ("resnet50", 0.0625), ("wrn-28-10", 0.1)):
        tiny.encoder(arch, width).save(tmp_path / "model.keras")
        check_keras_file(tmp_path / "model.keras")


def test_a_sequential_model_is_let_through(tmp_path):
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation="relu", kernel_regularizer="l2")]
    keras.Sequential([keras.Input((8, 8, 3)), *layers]).save(tmp_path / "model.keras")
    assert acl_tf.load(tmp_path / "model.keras").output_shape == (None, 3)


def test_json_of_a_good_file(file):
    with zipfile.ZipFile(file) as archive:
        assert json.loads(archive.read("config.json"))["class_name"] == "Functional"
    check_keras_file(file)
    assert "evil" not in sys.modules
