"""Checks of the graph of a SavedModel, made before TensorFlow loads it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acl_tf.errors import UnsafeModelError
from acl_tf.safety.operations import ALLOWED, ASSIGNING, RESTORING, SAVING
from acl_tf.safety.paths import check_names, check_size

if TYPE_CHECKING:
    from tensorflow.core.framework import attr_value_pb2, graph_pb2, node_def_pb2
    from tensorflow.core.protobuf import meta_graph_pb2

FILE = "saved_model.pb"
MAX_GRAPH_BYTES = 512 * 2**20
# Signatures that TensorFlow runs by itself.
INTERNAL = "__saved_model_"


@dataclass(frozen=True)
class SavedModelContents:
    """The signatures and operations of a SavedModel, and the reasons not to load it.

    Attributes:
        signatures: Inputs and outputs of each signature: `name → (inputs, outputs)`, each `name → "dtype shape"`.
        operations: Number of occurrences of each operation, also in functions and in the bodies of loops.
        findings: Reasons not to load it; empty if there are none.
    """

    signatures: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]]
    operations: Counter[str]
    findings: tuple[str, ...]


def check_saved_model(folder: Path) -> None:
    """Checks that a SavedModel consists of operations that only compute.

    Args:
        folder: Folder that holds `saved_model.pb`. Nothing in it is loaded.

    Raises:
        UnsafeModelError: If it cannot be read, or holds other operations.
    """
    findings = read_contents(folder).findings
    if findings:
        more = f" (and {len(findings) - 1} more; acl-tf inspect lists them)" if len(findings) > 1 else ""
        raise UnsafeModelError(f"{folder} is not safe to load: {findings[0]}{more}.")


def read_contents(folder: Path) -> SavedModelContents:
    """Reads the signatures and operations of a SavedModel, and finds reasons not to load it.

    Args:
        folder: Folder that holds `saved_model.pb`. Nothing in it is loaded.

    Raises:
        UnsafeModelError: If it cannot be read.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    file = folder / FILE
    others = sorted(other.name for other in folder.glob("saved_model.*") if other != file)
    if others:
        # TensorFlow would load a saved_model.cpb instead.
        raise UnsafeModelError(f"{folder} holds a SavedModel in a form that is not read. Received: {others[0]!r}")
    if not file.is_file():
        raise UnsafeModelError(f"{folder} holds no {FILE}, so it is not a SavedModel.")
    check_size(file, MAX_GRAPH_BYTES)
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise UnsafeModelError(f"{file} is damaged: it is not a SavedModel.") from error
    if len(saved_model.meta_graphs) != 1:
        raise UnsafeModelError(f"{file} must hold one graph. Received: {len(saved_model.meta_graphs)}")
    graph = _MetaGraph(saved_model.meta_graphs[0])
    check_names((asset.filename for asset in graph.meta_graph.asset_file_def), file)
    return SavedModelContents(
        signatures=dict(graph.signatures()),
        operations=Counter(node.op for _, node in graph.nodes()),
        findings=tuple(dict.fromkeys(graph.findings())),
    )


class _MetaGraph:
    """A graph and its library of functions."""

    def __init__(self, meta_graph: "meta_graph_pb2.MetaGraphDef") -> None:
        self.meta_graph = meta_graph
        self.graph: graph_pb2.GraphDef = meta_graph.graph_def
        self.functions = {function.signature.name: function for function in self.graph.library.function}
        self.top = {node.name: node for node in self.graph.node}

    def signatures(self) -> Iterator[tuple[str, tuple[dict[str, str], dict[str, str]]]]:
        for name, signature in sorted(self.meta_graph.signature_def.items()):
            if not name.startswith(INTERNAL):
                yield name, (_tensors(signature.inputs), _tensors(signature.outputs))

    def nodes(self) -> Iterator[tuple[str, "node_def_pb2.NodeDef"]]:
        """Yields every node after the name of its function, which is empty for nodes of the graph itself."""
        for node in self.graph.node:
            yield "", node
        for function in self.graph.library.function:
            for node in function.node_def:
                yield function.signature.name, node

    def findings(self) -> Iterator[str]:
        """Yields a description of everything that is not allowed."""
        if not self.meta_graph.object_graph_def.nodes:
            yield "it is of TensorFlow 1's form, whose loader runs more of the graph"
        if len(self.functions) != len(self.graph.library.function) or len(self.top) != len(self.graph.node):
            yield "two functions, or two nodes, have one name"
        for name in self.functions:
            if not name.startswith("__") and not name[:1].islower():
                yield f"the function {name} is called like an operation"
        saver, restorer = self._saver_nodes()
        for caller, ends in self._entry_points():
            for node in sorted(self._ancestors(ends) & {saver, restorer}):
                yield f"{caller} runs {node}, which writes or reads checkpoints"
        if saver in self._ancestors([restorer]):
            yield f"what restores the variables runs {saver}, which writes checkpoints"
        public = self._reached_from(node for name, node in self.top.items() if name not in (saver, restorer))
        public |= self._closure(self._replacements())
        public |= self._closure(_functions_of_objects(self.meta_graph))
        restoring = self._restoring(restorer) - public
        saving = self._reached_from(node for name, node in self.top.items() if name == saver) - public - restoring
        for function, node in self.nodes():
            checkpoint = RESTORING if function in restoring else SAVING if function in saving else frozenset()
            if node.op not in ALLOWED | checkpoint and node.op not in self.functions:
                yield f"the operation {node.op} in {f'the function {function}' if function else 'the graph'}"
        for caller, ends in self._entry_points():
            if self._operations(self._ancestors(ends) - {saver, restorer}) & ASSIGNING:
                yield f"{caller} changes variables"

    def _saver_nodes(self) -> tuple[str, str]:
        """Returns the node that writes the checkpoint of the variables, and the node that reads it."""
        saver = self.meta_graph.saver_def
        return _node_name(saver.save_tensor_name), _node_name(saver.restore_op_name)

    def _restoring(self, restorer: str) -> set[str]:
        """Returns the functions that read only the checkpoint whose path is passed to them, and no other file."""
        passed = _node_name(self.meta_graph.saver_def.filename_tensor_name)
        if restorer not in self.top or passed not in self.top or self.top[passed].op != "Placeholder":
            return set()
        node, restoring = self.top[restorer], set()
        for function in (self.functions[name] for name in self._called(node) if name in self.functions):
            given = dict(zip((arg.name for arg in function.signature.input_arg), map(_node_name, node.input)))
            read = [inner.input[0] for inner in function.node_def if inner.op in RESTORING and inner.input]
            if all(given.get(name) == passed for name in read):
                restoring.add(function.signature.name)
        return restoring

    def _entry_points(self) -> Iterator[tuple[str, list[str]]]:
        """Yields everything that a client or the loader runs by name: a description, and the tensors or nodes."""
        for name, signature in sorted(self.meta_graph.signature_def.items()):
            tensors = (*signature.inputs.values(), *signature.outputs.values())
            yield f"the signature {name}", [part for tensor in tensors for part in _parts(tensor)]
        for name, collection in sorted(self.meta_graph.collection_def.items()):
            # TensorFlow runs what some of them name when it loads the graph.
            yield f"the collection {name}", list(collection.node_list.value)

    def _replacements(self) -> Iterator[str]:
        """Yields the functions that TensorFlow may run instead of others, or as their gradients."""
        yield from (gradient.gradient_func for gradient in self.graph.library.gradient)
        yield from (gradient.gradient_func for gradient in self.graph.library.registered_gradients)
        yield from (name for name, function in self.functions.items() if "api_implements" in function.attr)

    def _ancestors(self, tensors: Iterable[str]) -> set[str]:
        """Returns the names of all nodes of the graph that these tensors depend on."""
        ancestors: set[str] = set()
        waiting = [_node_name(tensor) for tensor in tensors]
        while waiting:
            name = waiting.pop()
            if name in self.top and name not in ancestors:
                ancestors.add(name)
                waiting += [_node_name(tensor) for tensor in self.top[name].input]
        return ancestors

    def _operations(self, names: Iterable[str]) -> set[str]:
        """Returns the operations of some nodes of the graph and of all functions that they call."""
        nodes = [self.top[name] for name in names]
        called = [inner for name in self._reached_from(nodes) for inner in self.functions[name].node_def]
        return {node.op for node in [*nodes, *called]}

    def _reached_from(self, nodes: Iterable["node_def_pb2.NodeDef"]) -> set[str]:
        return self._closure(name for node in nodes for name in self._called(node))

    def _closure(self, names: Iterable[str]) -> set[str]:
        """Returns these functions and all functions that they call, directly or not."""
        reached: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self.functions and name not in reached:
                reached.add(name)
                for node in self.functions[name].node_def:
                    waiting += self._called(node)
        return reached

    def _called(self, node: "node_def_pb2.NodeDef") -> list[str]:
        """Returns the functions that a node calls, by its operation or by one of its attributes."""
        named = [node.op] if node.op in self.functions else []
        return named + [name for value in node.attr.values() for name in _functions_in(value)]


def _functions_in(value: "attr_value_pb2.AttrValue") -> Iterator[str]:
    for function in ([value.func] if value.HasField("func") else []) + list(value.list.func):
        yield function.name
        for nested in function.attr.values():
            yield from _functions_in(nested)


def _functions_of_objects(meta_graph: "meta_graph_pb2.MetaGraphDef") -> Iterator[str]:
    """Yields the names of the functions that can be called on the loaded object."""
    for node in meta_graph.object_graph_def.nodes:
        yield from node.function.concrete_functions
        if node.bare_concrete_function.concrete_function_name:
            yield node.bare_concrete_function.concrete_function_name
    yield from meta_graph.object_graph_def.concrete_functions


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").split(":")[0]


def _parts(info: "meta_graph_pb2.TensorInfo") -> list[str]:
    """Returns the names of the tensors that an input or output consists of."""
    sparse = info.coo_sparse
    names = [info.name, sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
    parts = [part for component in info.composite_tensor.components for part in _parts(component)]
    return [name for name in names if name] + parts


def _tensors(infos: Mapping[str, Any]) -> dict[str, str]:
    from tensorflow import dtypes

    def dtype_and_shape(info: Any) -> str:
        try:
            kind = dtypes.as_dtype(info.dtype).name
        except TypeError:
            kind = "of no known type"
        return f"{kind} {_shape(info.tensor_shape)}"

    return {name: dtype_and_shape(info) for name, info in sorted(infos.items())}


def _shape(shape: Any) -> str:
    sizes = ["?" if dim.size < 0 else str(dim.size) for dim in shape.dim]
    return "of any shape" if shape.unknown_rank else f"({', '.join(sizes)})"
