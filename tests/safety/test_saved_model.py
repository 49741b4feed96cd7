"""SavedModels that would do more than compute: what is said of each, and that nothing of it runs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import acl_tf
from acl_tf.cli import run
from acl_tf.errors import UnsafeModelError
from acl_tf.safety.operations import ALLOWED, RESTORING, SAVING
from acl_tf.safety.saved_model import check_saved_model, read_contents
from tests.safety import hostile
from tests.safety.hostile import after, changed, copied, feed_saver, function, node, save, write

Make = Callable[[Path, Path], Any]


@pytest.fixture(scope="session")
def good(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("good") / "saved_model"
    save(path)
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "saved_model"


@pytest.fixture
def marker(tmp_path) -> Path:
    return tmp_path / "marker"


def markers(marker: Path) -> list[str]:
    return sorted(file.name for file in marker.parent.glob("marker*"))


def refusal(path: Path, capsys) -> str:
    """What is said by whoever would load it; they all say the same, and inspect lists it."""
    with pytest.raises(UnsafeModelError) as error:
        check_saved_model(path)
    for load in (acl_tf.load_saved_model, lambda path: acl_tf.load_saved_model(str(path))):
        with pytest.raises(UnsafeModelError) as again:
            load(path)
        assert str(again.value) == str(error.value)
    capsys.readouterr()
    assert run(["inspect", str(path)]) == 1
    out = capsys.readouterr().out
    said = re.match(r".* is not safe to load: (.*?)( \(and \d+ more.*)?\.$", str(error.value))
    finding = said[1] if said else str(error.value)
    assert any(line.startswith("refused  ") and finding in line for line in out.splitlines()), out
    assert out.splitlines()[-1] == "verdict     refused"
    return str(error.value).replace(str(path), "PATH")


def call(path: Path) -> Any:
    """What a user does with a SavedModel that is not checked."""
    loaded = tf.saved_model.load(str(path))
    return loaded.signatures["serving_default"](tf.ones((2, *hostile.SHAPE)))


# Operations, wherever they hide; with plain TensorFlow, a call writes the marker.

HIDDEN: dict[str, tuple[Callable[[hostile.Step], hostile.Step], str]] = {
    "in the signature": (lambda step: step, r"__inference_serving_default_\d+"),
    "in the body of a loop": (hostile.in_while, r"while_body_\d+"),
    "in the condition of a loop": (hostile.in_condition_of_while, r"while_cond_\d+"),
    "in a branch": (hostile.in_branch, r"cond_true_\d+"),
    "in a case": (hostile.in_case, r"branch_case_branch1_\d+|switch_case_\w+|indexed_case_\w+"),
    "in a map": (hostile.in_map, r"map_while_body_\d+"),
    "in a nested function": (hostile.nested, r"__inference_<lambda>_\d+|__inference_\w+_\d+"),
    "in a loop in a branch of nested functions": (hostile.deep, r"\S+"),
}


@pytest.mark.parametrize("place", HIDDEN)
def test_an_operation_is_found_wherever_it_hides(path, marker, capsys, place):
    wrap, name = HIDDEN[place]
    save(path, wrap(write(marker)))
    said = re.fullmatch(
        r"PATH is not safe to load: the operation WriteFile in the function (\S+?)(?: \(and .*\))?\.",
        refusal(path, capsys),
    )
    assert said and re.search(name, said[1]), said
    assert markers(marker) == []
    call(path)
    assert markers(marker) == ["marker"]  # it is as hostile as it looks


def test_in_a_function_that_is_no_signature(path, marker, capsys):
    save(path, helper=write(marker))
    assert "the operation WriteFile in the function __inference_" in refusal(path, capsys)
    assert markers(marker) == []
    tf.saved_model.load(str(path)).helper(tf.ones((1, 3)))
    assert markers(marker) == ["marker"]


def test_in_a_function_that_nothing_calls(good, path, marker, tmp_path, capsys):
    copied(good, path)
    save(tmp_path / "other", write(marker))
    with changed(tmp_path / "other") as other, changed(path) as graph:
        idle = graph.graph_def.library.function.add()
        idle.CopyFrom(function(other, "serving_default"))
        idle.signature.name = "__inference_idle_7"
    expected = "PATH is not safe to load: the operation WriteFile in the function __inference_idle_7."
    assert refusal(path, capsys) == expected
    assert markers(marker) == []


def test_in_a_gradient(path, marker, capsys):
    step = hostile.in_gradient(write(marker))

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32)])
    def helper(x):
        return step(x)

    root = tf.Module()
    root.helper = helper
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(root, str(path), options=options)
    assert "the operation WriteFile in the function " in refusal(path, capsys)
    assert markers(marker) == []


def test_in_the_graph_itself(good, path, marker, capsys):
    copied(good, path)
    with changed(path) as graph:
        graph.graph_def.node.extend(hostile.write_node("writer", str(marker), "writer_path", "writer_text"))
        (output,) = graph.signature_def["serving_default"].outputs.values()
        node(graph, output.name).input.append("^writer")
    assert refusal(path, capsys) == "PATH is not safe to load: the operation WriteFile in the graph."
    assert markers(marker) == []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.saved_model.load(session, ["serve"], str(path))
        session.run(output.name, {"serving_default_images:0": np.ones((1, *hostile.SHAPE))})
    assert markers(marker) == ["marker"]


def test_what_acts_on_being_loaded(path, marker, capsys):
    def initialize(x):
        tf.raw_ops.WriteFile(filename=str(marker), contents="was here")
        return x

    save(path, acting=hostile.Acting(initialize))
    assert re.search(r"the operation WriteFile in the function __inference__?initialize\w*_\d+", refusal(path, capsys))
    assert markers(marker) == []
    tf.saved_model.load(str(path))
    assert markers(marker) == ["marker"]


# What reads, prints, runs Python, or connects


def table(path: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a\nb\n")
    words = tf.lookup.TextFileInitializer(
        str(tmp_path / "words.txt"),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    save(path, table=tf.lookup.StaticHashTable(words, -1))


def restore(x: tf.Tensor) -> tf.Tensor:
    (read,) = tf.raw_ops.RestoreV2(prefix="/etc/ckpt", tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32])
    return x + tf.reduce_sum(read)


def saved_weights(x: tf.Tensor) -> tf.Tensor:
    operation = tf.raw_ops.SaveV2(prefix="/tmp/w", tensor_names=["w"], shape_and_slices=[""], tensors=[x])
    return hostile.after(operation, value=x)


def dataset(x: tf.Tensor) -> tf.Tensor:
    lines = tf.data.TextLineDataset("/etc/passwd")
    return x + tf.cast(lines.reduce(0, lambda count, line: count + tf.strings.length(line)), tf.float32)


OTHERS: dict[str, tuple[hostile.Step, str]] = {
    "reads a file": (
        lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32),
        "ReadFile",
    ),
    "lists files": (lambda x: x + tf.cast(tf.size(tf.io.matching_files("/etc/*")), tf.float32), "MatchingFiles"),
    "runs Python": (lambda x: tf.ensure_shape(tf.py_function(lambda x: x, [x], tf.float32), x.shape), "EagerPyFunc"),
    "runs NumPy": (lambda x: tf.ensure_shape(tf.numpy_function(lambda x: x, [x], tf.float32), x.shape), "PyFunc"),
    "prints": (lambda x: hostile.after(tf.print(x), value=x), "PrintV2"),
    "writes weights": (saved_weights, "SaveV2"),
    "reads weights": (restore, "RestoreV2"),
    "reads through a dataset": (dataset, "TextLineDataset"),
    "tells the time": (lambda x: x + tf.cast(tf.timestamp(), tf.float32), "Timestamp"),
    "draws from the state of the machine": (lambda x: x + tf.random.uniform(()), "RandomUniform"),
    "logs for a debugger": (
        lambda x: tf.raw_ops.DebugIdentityV2(input=x, debug_urls=["file:///tmp/debug"]),
        "DebugIdentityV2",
    ),
    "unpacks tensors of any kind": (lambda x: tf.io.parse_tensor(tf.io.serialize_tensor(x), tf.float32), "ParseTensor"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_operations(path, capsys, what):
    step, operation = OTHERS[what]
    save(path, lambda x: tf.ensure_shape(step(x), (None, 3)))
    refusal(path, capsys)
    assert any(
        re.fullmatch(rf"the operation {operation} in the function __inference_\w+_\d+", finding)
        for finding in read_contents(path).findings
    ), read_contents(path).findings


def test_a_table_that_is_read_on_loading(path, tmp_path, capsys):
    table(path, tmp_path)
    refusal(path, capsys)
    operations = {finding.split(" in ")[0] for finding in read_contents(path).findings}
    assert "the operation InitializeTableFromTextFileV2" in operations


# The operations of the saver, which every SavedModel has


def by_signature(graph, marker):
    saver = feed_saver(graph, marker)
    graph.signature_def["steal"].outputs["path"].name = f"{saver}:0"


def by_input_of_a_signature(graph, marker):
    saver = feed_saver(graph, marker)
    graph.signature_def["steal"].inputs["path"].name = f"{saver}:0"


def by_part_of_a_signature(graph, marker):
    saver = feed_saver(graph, marker)
    graph.signature_def["steal"].outputs["path"].composite_tensor.components.add().name = f"{saver}:0"


def by_control_dependency(graph, marker):
    saver = feed_saver(graph, marker)
    (output,) = graph.signature_def["serving_default"].outputs.values()
    node(graph, output.name).input.append(f"^{saver}")


def by_initialisation(graph, marker):
    saver = feed_saver(graph, marker)
    graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = f"{saver}:0"


def by_collection(graph, marker):
    saver = feed_saver(graph, marker)
    del graph.signature_def["__saved_model_init_op"]
    collection = graph.collection_def["saved_model_main_op"]
    collection.Clear()
    collection.node_list.value.append(saver)


def by_legacy_collection(graph, marker):
    by_collection(graph, marker)
    graph.collection_def["legacy_init_op"].CopyFrom(graph.collection_def["saved_model_main_op"])
    del graph.collection_def["saved_model_main_op"]


def by_restoring(graph, marker):
    saver = feed_saver(graph, marker)
    node(graph, graph.saver_def.restore_op_name).input.append(f"^{saver}")


def by_call(graph, marker):
    """A function of the signature calls that of the saver."""
    caller, saver = function(graph, "_serving_default_"), function(graph, "traced_save")
    call = caller.node_def.add(name="call", op="PartitionedCall", input=["images"])
    call.attr["f"].func.name = saver.signature.name


def by_name(graph, marker):
    """The same, in the older way: the function's name is the operation."""
    caller, saver = function(graph, "_serving_default_"), function(graph, "traced_save")
    caller.node_def.add(name="call", op=saver.signature.name, input=["images"])


def by_nested_attribute(graph, marker):
    caller, saver = function(graph, "_serving_default_"), function(graph, "traced_save")
    call = caller.node_def.add(name="call", op="PartitionedCall", input=["images"])
    call.attr["f"].func.name = function(graph, "traced_restore").signature.name
    call.attr["f"].func.attr["g"].list.func.add().name = saver.signature.name


def by_object(graph, marker):
    """`loaded.anything()` is the function of the saver."""
    name = function(graph, "traced_save").signature.name
    graph.object_graph_def.nodes.add().function.concrete_functions.append(name)


def by_bare_object(graph, marker):
    name = function(graph, "traced_save").signature.name
    graph.object_graph_def.nodes.add().bare_concrete_function.concrete_function_name = name


def by_gradient(graph, marker):
    gradient = graph.graph_def.library.gradient.add()
    gradient.function_name = function(graph, "_serving_default_").signature.name
    gradient.gradient_func = function(graph, "traced_save").signature.name


def by_registered_gradient(graph, marker):
    gradient = graph.graph_def.library.registered_gradients.add()
    gradient.registered_op_type = "CustomGradient-7"
    gradient.gradient_func = function(graph, "traced_save").signature.name


def by_replacement(graph, marker):
    """TensorFlow's optimiser takes one implementation of an interface for another."""
    for part in ("_serving_default_", "traced_save"):
        function(graph, part).attr["api_implements"].s = b"interface"


def in_what_restores(graph, marker):
    saved = next(node for node in function(graph, "traced_save").node_def if node.op == "SaveV2")
    function(graph, "traced_restore").node_def.add().CopyFrom(saved)


def reads_another(graph, marker):
    """Loaded by TensorFlow Serving, the weights of another model would be this one's."""
    restore = function(graph, "traced_restore")
    restore.node_def.extend(hostile.write_node("other", "/models/secret/variables/variables")[:1])
    next(node for node in restore.node_def if node.op == "RestoreV2").input[0] = "other_path:output:0"


def is_told_another(graph, marker):
    feed_saver(graph, marker)
    node(graph, graph.saver_def.restore_op_name).input[0] = "to_marker:0"


def tells_itself_another(graph, marker):
    feed_saver(graph, marker)
    node(graph, graph.saver_def.restore_op_name).input[0] = "to_marker:0"
    graph.saver_def.filename_tensor_name = "to_marker:0"


def saver_is_restorer(graph, marker):
    graph.saver_def.restore_op_name = graph.saver_def.save_tensor_name.split(":")[0]


def in_the_graph(graph, marker):
    for entry in function(graph, "traced_save").node_def:
        if entry.op == "SaveV2":
            graph.graph_def.node.add().CopyFrom(entry)


SAVER = r"StatefulPartitionedCall_\d"
CHECKPOINT = rf"the {{}} runs {SAVER}, which writes or reads checkpoints"
IN_RESTORE = r"the operation RestoreV2 in the function __inference__traced_restore_\d+"
IN_SAVE = r"the operation ShardedFilename in the function __inference__traced_save_\d+"


@pytest.mark.parametrize(
    "how, finding",
    [
        (by_signature, CHECKPOINT.format("signature steal")),
        (by_input_of_a_signature, CHECKPOINT.format("signature steal")),
        (by_part_of_a_signature, CHECKPOINT.format("signature steal")),
        (by_control_dependency, CHECKPOINT.format("signature serving_default")),
        (by_initialisation, CHECKPOINT.format("signature __saved_model_init_op")),
        (by_collection, CHECKPOINT.format("collection saved_model_main_op")),
        (by_legacy_collection, CHECKPOINT.format("collection legacy_init_op")),
        (by_restoring, rf"what restores the variables runs {SAVER}, which writes checkpoints"),
        (by_call, IN_SAVE),
        (by_name, IN_SAVE),
        (by_nested_attribute, r"the operation RestoreV2 in the function __inference__traced_restore_\d+|" + IN_SAVE),
        (by_object, IN_SAVE),
        (by_bare_object, IN_SAVE),
        (by_gradient, IN_SAVE),
        (by_registered_gradient, IN_SAVE),
        (by_replacement, IN_SAVE),
        (in_what_restores, r"the operation SaveV2 in the function __inference__traced_restore_\d+"),
        (reads_another, IN_RESTORE),
        (is_told_another, IN_RESTORE),
        (tells_itself_another, IN_RESTORE),
        (saver_is_restorer, r"what restores .*|" + IN_SAVE),
        (in_the_graph, "the operation SaveV2 in the graph"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_checkpoints_are_the_savers_alone(good, path, marker, capsys, how, finding):
    copied(good, path)
    with changed(path) as graph:
        how(graph, marker)
    said = refusal(path, capsys)
    assert re.fullmatch(rf"PATH is not safe to load: ({finding})( \(and .*\))?\.", said), said
    assert markers(marker) == []


def test_a_collection_that_runs_the_saver_is_hostile(good, path, marker):
    """Loading alone writes files, in TensorFlow's own loader of graphs without objects."""
    copied(good, path)
    with changed(path) as graph:
        by_collection(graph, marker)
        graph.ClearField("object_graph_def")
    assert len(read_contents(path).findings) == 2
    tf.saved_model.load(str(path))
    assert markers(marker) == ["marker.data-00000-of-00001", "marker.index"]


# Other forms


def test_tensorflow_1(good, path, capsys):
    copied(good, path)
    with changed(path) as graph:
        graph.ClearField("object_graph_def")
    assert refusal(path, capsys) == (
        "PATH is not safe to load: it is of TensorFlow 1's form, whose loader runs more of the graph."
    )


def test_a_signature_that_changes_the_model(path, capsys):
    """Any client of a server could call it."""
    count = tf.Variable(0.0)
    save(path, lambda x: after(count.assign_add(1.0), value=x), count=count)
    assert read_contents(path).findings == ("the signature serving_default changes variables",)


def test_several_graphs(good, path, capsys):
    copied(good, path)
    saved = hostile.read(path)
    saved.meta_graphs.add().CopyFrom(saved.meta_graphs[0])
    hostile.replaced(path, "saved_model.pb", saved.SerializeToString())
    assert refusal(path, capsys) == "PATH/saved_model.pb must hold one graph. Received: 2"


@pytest.mark.parametrize("form", ["saved_model.cpb", "saved_model.pbtxt"])
def test_another_form_beside_a_good_one(good, path, marker, tmp_path, capsys, form):
    """TensorFlow may load that one in its stead."""
    copied(good, path)
    save(tmp_path / "other", write(marker))
    hostile.replaced(path, form, (tmp_path / "other" / "saved_model.pb").read_bytes())
    assert refusal(path, capsys) == f"PATH holds a SavedModel in a form that is not read. Received: '{form}'"


def test_a_function_that_is_called_like_an_operation(path, marker, capsys):
    save(path, write(marker))
    with changed(path) as graph:
        harmless = graph.graph_def.library.function.add()
        harmless.signature.name = "WriteFile"
    assert "PATH is not safe to load: the function WriteFile is called like an operation" in refusal(path, capsys)
    assert markers(marker) == []


def test_a_function_that_is_called_like_an_internal_operation(good, path, capsys):
    copied(good, path)
    with changed(path) as graph:
        graph.graph_def.library.function.add().signature.name = "_HostRecv"
    assert refusal(path, capsys) == "PATH is not safe to load: the function _HostRecv is called like an operation."


@pytest.mark.parametrize("what", ["function", "node"])
def test_one_name_twice(good, path, capsys, what):
    copied(good, path)
    with changed(path) as graph:
        entries = graph.graph_def.library.function if what == "function" else graph.graph_def.node
        entries.add().CopyFrom(entries[0])
    assert refusal(path, capsys) == "PATH is not safe to load: two functions, or two nodes, have one name."


@pytest.mark.parametrize(
    "name, complaint",
    [
        ("../../../etc/passwd", "names a path outside of it; nothing of it was read"),
        ("/etc/passwd", "names an absolute path; nothing of it was read"),
        ("words\n.txt", "names a file by other than letters, digits, '.', '_', '-' and '/'"),
    ],
)
def test_assets_elsewhere(good, path, capsys, name, complaint):
    copied(good, path)
    with changed(path) as graph:
        graph.asset_file_def.add(filename=name)
    assert refusal(path, capsys) == f"PATH/saved_model.pb {complaint}. Received: {name!r}"


@pytest.mark.parametrize(
    "content, complaint",
    [
        (b"", "PATH/saved_model.pb must hold one graph. Received: 0"),
        (b"no graph at all", "PATH/saved_model.pb is damaged: it is not a SavedModel."),
        ("half", "PATH/saved_model.pb is damaged: it is not a SavedModel."),
    ],
)
def test_damaged(good, path, capsys, content, complaint):
    copied(good, path)
    whole = (path / "saved_model.pb").read_bytes()
    hostile.replaced(path, "saved_model.pb", whole[: len(whole) // 2] if content == "half" else content)
    assert refusal(path, capsys) == complaint


def test_too_large(good, path, capsys):
    copied(good, path)
    hostile.sparse(path / "saved_model.pb", 2**30)
    assert refusal(path, capsys) == (
        "PATH/saved_model.pb is too large for what it is called; it was not read. "
        "Received: 1.0 GiB, where 0.5 GiB are the most"
    )


def test_none(tmp_path):
    with pytest.raises(UnsafeModelError) as error:
        check_saved_model(tmp_path)
    assert str(error.value) == f"{tmp_path} holds no saved_model.pb, so it is not a SavedModel."


def test_a_link_in_it(good, path, capsys, tmp_path):
    copied(good, path)
    (path / "variables" / "variables.index").rename(tmp_path / "elsewhere")
    (path / "variables" / "variables.index").symlink_to(tmp_path / "elsewhere")
    complaint = f"{path} holds a symbolic link; copy the file instead. Received: 'variables/variables.index'"
    with pytest.raises(UnsafeModelError) as error:
        acl_tf.load_saved_model(path)
    assert str(error.value) == complaint
    assert run(["inspect", str(path)]) == 1
    assert f"refused     {complaint}" in capsys.readouterr().out.splitlines()


# What is let through


def test_a_good_one(good, capsys):
    check_saved_model(good)
    loaded = acl_tf.load_saved_model(good)
    returned = loaded.signatures["serving_default"](tf.ones((2, *hostile.SHAPE)))["features"]
    np.testing.assert_array_equal(returned, np.ones((2, 3)))
    assert run(["inspect", str(good)]) == 0
    out = capsys.readouterr().out
    assert "signature   .: serving_default(images: float32 (?, 4, 4, 3)) -> features: float32 (?, 3)" in out
    assert out.splitlines()[-1] == "verdict     safe: what acl-tf loads of it only computes"


def test_contents(good):
    found = read_contents(good)
    assert found.signatures == {"serving_default": ({"images": "float32 (?, 4, 4, 3)"}, {"features": "float32 (?, 3)"})}
    assert found.operations["Mean"] == 1 and found.operations["SaveV2"] == 1 and found.findings == ()


def test_loops_and_branches_alone_are_no_reason(path):
    save(path, hostile.deep(lambda x: x * 2))
    check_saved_model(path)


def test_trust_is_an_explicit_choice(path, marker, caplog):
    save(path, write(marker))
    loaded = acl_tf.load_saved_model(path, trust=True)
    assert "the operation WriteFile in the function" in caplog.text
    loaded.signatures["serving_default"](tf.ones((2, *hostile.SHAPE)))
    assert markers(marker) == ["marker"]


def test_trust_does_not_load_what_cannot_be_read(good, path):
    copied(good, path)
    hostile.sparse(path / "saved_model.pb", 2**30)
    with pytest.raises(UnsafeModelError, match="is too large for what it is called; it was not read"):
        acl_tf.load_saved_model(path, trust=True)


def test_the_list_holds_real_operations_and_none_that_reaches_outside():
    from tensorflow.python.framework import op_def_registry

    known = {name for name in ALLOWED | SAVING | RESTORING if op_def_registry.get(name) is not None}
    assert known == ALLOWED | SAVING | RESTORING
    telling = "File|Save|Restore|Print|Py|Dataset|Iterator|Rpc|Send|Recv|Table|Queue|Random|Debug|Summary|Xla|Remote"
    assert [name for name in sorted(ALLOWED) if re.search(telling, name)] == []
