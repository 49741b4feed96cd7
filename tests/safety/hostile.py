"""SavedModels and Keras files that do what they should not; all that would write a file write a marker."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import function_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from acl_tf.model_folder.manifest import write_manifest

SHAPE = (4, 4, 3)
IMAGES = tf.TensorSpec((None, *SHAPE), tf.float32, "images")
Step = Callable[[tf.Tensor], tf.Tensor]


# SavedModels


def save(path: Path, step: Step = tf.identity, helper: Step | None = None, **attributes: Any) -> None:
    """Writes a SavedModel whose signature does something with the features before it returns them."""
    root = tf.Module()
    root.weight = tf.Variable(np.ones(3, np.float32))
    for name, value in attributes.items():
        setattr(root, name, value)
    if helper:
        root.helper = tf.function(helper, input_signature=[tf.TensorSpec((None, 3), tf.float32)])

    def serving_default(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": step(tf.reduce_mean(images, (1, 2)) * root.weight)}

    tf.saved_model.save(root, str(path), tf.function(serving_default).get_concrete_function(IMAGES))


def after(*operations: tf.Operation | tf.Tensor | None, value: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([operation for operation in operations if operation is not None]):
        return tf.identity(value)


def write(marker: Path) -> Step:
    """Writes the marker with a raw operation."""
    return lambda x: after(tf.raw_ops.WriteFile(filename=str(marker), contents="was here"), value=x)


def in_while(step: Step) -> Step:
    return lambda x: tf.while_loop(lambda i, x: i < 1, lambda i, x: (i + 1, step(x)), [tf.constant(0), x])[1]


def in_condition_of_while(step: Step) -> Step:
    def condition(i: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        return after(step(x), value=i < 1)

    return lambda x: tf.while_loop(condition, lambda i, x: (i + 1, x), [tf.constant(0), x])[1]


def in_branch(step: Step) -> Step:
    return lambda x: tf.cond(tf.size(x) >= 0, lambda: step(x), lambda: x)


def in_case(step: Step) -> Step:
    return lambda x: tf.switch_case(tf.minimum(tf.size(x), 1), [lambda: x, lambda: step(x), lambda: x])


def in_map(step: Step) -> Step:
    return lambda x: tf.map_fn(lambda row: step(row[tf.newaxis])[0], x)


def nested(step: Step) -> Step:
    inner = tf.function(step)
    middle = tf.function(lambda x: inner(x) * 1.0)
    return tf.function(lambda x: middle(x) + 0.0)


def deep(step: Step) -> Step:
    return nested(in_while(in_branch(nested(step))))


def in_gradient(step: Step) -> Step:
    """Runs the operation only when a gradient is taken, as fine-tuning does."""

    @tf.custom_gradient
    def identity(x: tf.Tensor) -> tuple[tf.Tensor, Step]:
        return tf.identity(x), step

    return identity


class Acting(tf.saved_model.experimental.TrackableResource):
    """What TensorFlow calls when it loads a SavedModel."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step
        _ = self.resource_handle

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=(), shared_name="acting")

    def _initialize(self) -> tf.Tensor:
        return self._step(tf.constant(1.0))

    def _destroy_resource(self) -> None:
        pass


def read(path: Path) -> saved_model_pb2.SavedModel:
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    return saved


@contextmanager
def changed(path: Path) -> Iterator[meta_graph_pb2.MetaGraphDef]:
    """Lets the block change the graph of a SavedModel, as TensorFlow itself never would."""
    saved = read(path)
    yield saved.meta_graphs[0]
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())


def function(graph: meta_graph_pb2.MetaGraphDef, part: str) -> function_pb2.FunctionDef:
    (found,) = (entry for entry in graph.graph_def.library.function if part in entry.signature.name)
    return found


def node(graph: meta_graph_pb2.MetaGraphDef, tensor: str) -> node_def_pb2.NodeDef:
    (found,) = (entry for entry in graph.graph_def.node if entry.name == tensor.split(":")[0])
    return found


def feed_saver(graph: meta_graph_pb2.MetaGraphDef, marker: Path) -> str:
    """Makes the saver write beside the marker, not where it is told to; returns its node's name."""
    saver = node(graph, graph.saver_def.save_tensor_name)
    constant = graph.graph_def.node.add(name="to_marker", op="Const")
    constant.attr["dtype"].type = tf.string.as_datatype_enum
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(marker)))
    saver.input[0] = "to_marker:0"
    return saver.name


def write_node(name: str, marker: str, *inputs: str) -> list[node_def_pb2.NodeDef]:
    """Returns the operation `WriteFile` and its inputs as nodes."""
    nodes = []
    for part, value in (("path", marker), ("text", "was here")):
        constant = node_def_pb2.NodeDef(name=f"{name}_{part}", op="Const")
        constant.attr["dtype"].type = tf.string.as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        nodes.append(constant)
    return [*nodes, node_def_pb2.NodeDef(name=name, op="WriteFile", input=inputs)]


# Keras files


def keras_model() -> keras.Model:
    inputs = keras.Input((16, 16, 3), name="images")
    x = keras.layers.Conv2D(4, 3, name="conv", kernel_initializer="zeros")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="fc")(x), name="small")


def rewritten(file: Path, change: Callable[[dict[str, bytes]], Any]) -> None:
    """Changes the members of a `.keras` file."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def with_config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Changes the configuration of a `.keras` file."""

    def changed(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()

    return lambda file: rewritten(file, changed)


def layer(config: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(entry for entry in config["config"]["layers"] if entry["class_name"] == kind)


def with_weights(change: Callable[[h5py.File], Any]) -> Callable[[Path], None]:
    """Changes the weights of a `.keras` file."""

    def changed(file: Path) -> None:
        weights = file.with_name("weights.h5")
        with zipfile.ZipFile(file) as archive:
            weights.write_bytes(archive.read("model.weights.h5"))
        with h5py.File(weights, "r+") as opened:
            change(opened)
        rewritten(file, lambda members: members.update({"model.weights.h5": weights.read_bytes()}))
        weights.unlink()

    return changed


# Folders


def replaced(folder: Path, file: str, content: bytes | str) -> None:
    (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)


def signed(folder: Path) -> None:
    """Makes the manifest fit: whoever spoils a model can do that, too."""
    write_manifest(folder)


def spoil_manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest["files"])
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return changed


def sparse(file: Path, size: int) -> None:
    file.touch()
    os.truncate(file, size)


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target, symlinks=True))
