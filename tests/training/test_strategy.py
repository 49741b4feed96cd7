import json
import os

import pytest
import tensorflow as tf

from acl_tf.errors import UsageError
from acl_tf.training import strategy
from acl_tf.training.hardware import Hardware
from acl_tf.training.strategy import build_strategy, cluster_of_environment, local_devices

TWO = {"worker": ["host0:2222", "host1:2222"]}
EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM") or name == "TF_CONFIG"]:
        monkeypatch.delenv(name)


@pytest.fixture
def devices(monkeypatch) -> dict[str, list]:
    """What there is, as a test sets it, and what was asked for."""
    there: dict[str, list] = {"CPU": ["the cpu"], "GPU": []}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: there[kind])
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda chosen, kind: there.update({f"visible {kind}": chosen})
    )
    monkeypatch.setattr(
        tf.config, "set_logical_device_configuration", lambda cpu, parts: there.update({f"parts of {cpu}": parts})
    )
    return there


def tf_config(cluster=TWO, task_type="worker", index=0) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": task_type, "index": index}})


# TF_CONFIG


@pytest.mark.parametrize(
    "cluster, task, order",
    [
        (TWO, ("worker", 1), ["host0:2222", "host1:2222"]),
        ({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, ("chief", 0), ["a:1", "b:2", "c:3"]),
        ({"worker": ["[::1]:2222", "10.0.0.1:65535"]}, ("worker", 0), ["[::1]:2222", "10.0.0.1:65535"]),
    ],
)
def test_tf_config(cluster, task, order):
    resolver = cluster_of_environment({"TF_CONFIG": tf_config(cluster, *task)})
    assert (resolver.task_type, resolver.task_id) == task
    spec = resolver.cluster_spec().as_dict()
    assert [address for job in ("chief", "worker") for address in spec.get(job, [])] == order


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TF_CONFIG": ""},
        {"TF_CONFIG": " {} "},
        {"TF_CONFIG": tf_config({"worker": ["host0:2222"]})},
        {"TF_CONFIG": tf_config({"chief": ["host0:2222"]}, "chief")},
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"SLURM_STEP_NUM_TASKS": "2"},  # a job's script, not a step
    ],
)
def test_one_process_is_no_cluster(environment):
    assert cluster_of_environment(environment) is None


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "list indices must be integers or slices, not str"),
        ('{"task": {"type": "worker", "index": 0}}', "'cluster'"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', "'task'"),
        (tf_config(["a:1", "b:2"]), "'list' object has no attribute 'items'"),
        (tf_config({"worker": "a:1"}), "the addresses of a job are a list"),
        (tf_config({"worker": 2}), "'int' object is not iterable"),
        (tf_config(index="first"), "invalid literal for int() with base 10: 'first'"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker"}}', "'index'"),
    ],
)
def test_a_tf_config_of_another_form(text, message):
    with pytest.raises(UsageError) as error:
        cluster_of_environment({"TF_CONFIG": text})
    assert str(error.value) == f"TF_CONFIG must look like {EXAMPLE}. Received: {text} ({message})"


def test_a_tf_config_of_several_lines_is_shown_in_one():
    with pytest.raises(UsageError) as error:
        cluster_of_environment({"TF_CONFIG": '{\n  "cluster": 1\n}\n'})
    assert str(error.value) == f"TF_CONFIG must look like {EXAMPLE}. Received: {{ \"cluster\": 1 }} ('task')"


@pytest.mark.parametrize(
    "text, message",
    [
        (
            tf_config({**TWO, "ps": ["c:3"]}),
            "TF_CONFIG may name workers and one chief, and the task must be one of them. "
            "Received: jobs ['ps', 'worker'], task of type 'worker'",
        ),
        (
            tf_config(TWO, "chief"),
            "TF_CONFIG may name workers and one chief, and the task must be one of them. "
            "Received: jobs ['worker'], task of type 'chief'",
        ),
        (
            tf_config(index=2),
            "The task of TF_CONFIG must be one of the 2 of its type, counted from 0, and there is one chief at most. "
            "Received: index 2",
        ),
        (
            tf_config(index=-1),
            "The task of TF_CONFIG must be one of the 2 of its type, counted from 0, and there is one chief at most. "
            "Received: index -1",
        ),
        (
            tf_config({"chief": ["a:1", "b:2"], "worker": ["c:3"]}),
            "The task of TF_CONFIG must be one of the 1 of its type, counted from 0, and there is one chief at most. "
            "Received: index 0",
        ),
        (
            tf_config({"worker": ["host0", "host1:2222"]}),
            "TF_CONFIG must name each worker once, as host:port. Received: 'host0'",
        ),
        (
            tf_config({"worker": ["host0:2222", "host0:2222"]}),
            "TF_CONFIG must name each worker once, as host:port. Received: 'host0:2222'",
        ),
        (
            tf_config({"worker": ["host0:2222", "host1:port"]}),
            "TF_CONFIG must name each worker once, as host:port. Received: 'host1:port'",
        ),
    ],
)
def test_a_tf_config_that_names_no_place_in_a_cluster(text, message):
    with pytest.raises(UsageError) as error:
        cluster_of_environment({"TF_CONFIG": text})
    assert str(error.value) == message


# SLURM


@pytest.fixture
def slurm(monkeypatch):
    """Sets the variables of a step, which TensorFlow reads from the environment of the process."""

    def step(nodes: str, tasks_per_node: str, tasks: int, number: int, node: str) -> dict[str, str]:
        variables = {
            "SLURM_STEP_NUM_TASKS": str(tasks),
            "SLURM_STEP_NODELIST": nodes,
            "SLURM_STEP_TASKS_PER_NODE": tasks_per_node,
            "SLURM_PROCID": str(number),
            "SLURMD_NODENAME": node,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return variables

    return step


@pytest.mark.parametrize(
    "nodes, tasks_per_node, of_each_task",
    [
        ("node1", "2", ["node1:8888", "node1:8889"]),
        ("node[1-2]", "1(x2)", ["node1:8888", "node2:8888"]),
        ("node[1-2]", "2,1", ["node1:8888", "node1:8889", "node2:8888"]),
    ],
)
def test_the_tasks_of_a_slurm_step(nodes, tasks_per_node, of_each_task, slurm):
    for number, address in enumerate(of_each_task):
        step = slurm(nodes, tasks_per_node, len(of_each_task), number, address.split(":")[0])
        resolver = cluster_of_environment(step)
        assert resolver.cluster_spec().as_dict() == {"worker": of_each_task}
        assert (resolver.task_type, resolver.task_id) == ("worker", number)


def test_slurm_that_counts_its_nodes_in_another_order_than_tensorflow(slurm):
    """node10 comes before node2 where names are sorted; SLURM's first task runs on node2."""
    with pytest.raises(UsageError) as error:
        cluster_of_environment(slurm("node[2,10]", "1(x2)", 2, 0, "node2"))
    assert str(error.value) == (
        "TensorFlow expects task 0 of this SLURM step on node10, and it runs on node2: set TF_CONFIG instead. "
        "Received: SLURM_STEP_NODELIST=node[2,10]"
    )


def test_slurm_variables_that_are_missing(slurm, monkeypatch):
    step = slurm("node1", "2", 2, 0, "node1")
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    with pytest.raises(UsageError, match=r"^The SLURM_STEP_\* variables of this step cannot be read: .*NODELIST"):
        cluster_of_environment(step)


def test_tf_config_comes_before_slurm(slurm):
    step = slurm("node1", "2", 2, 1, "node1")
    assert cluster_of_environment({**step, "TF_CONFIG": tf_config()}).task_id == 0


# Devices


@pytest.mark.parametrize("gpus, expected", [([], ["CPU:0"]), (["a", "b"], ["GPU:0", "GPU:1"])])
def test_all_gpus_or_else_the_cpu(gpus, expected, devices):
    devices["GPU"] = gpus
    assert local_devices(None) == expected
    assert devices.keys() == {"CPU", "GPU"}  # nothing is hidden


def test_some_gpus(devices):
    devices["GPU"] = ["a", "b", "c"]
    assert local_devices("2") == ["GPU:0", "GPU:1"]
    assert devices["visible GPU"] == ["a", "b"]


@pytest.mark.parametrize("wanted", ["cpu:3", "CPU:3"])
def test_parts_of_the_cpu(wanted, devices):
    devices["GPU"] = ["a"]
    assert local_devices(wanted) == ["CPU:0", "CPU:1", "CPU:2"]
    assert len(devices["parts of the cpu"]) == 3 and devices["visible GPU"] == []


@pytest.mark.parametrize("wanted", ["gpu", "gpu:2", "0", "cpu", "cpu:0", "-1", "2.0", "", "cpu:2,cpu:3", "99999"])
def test_what_names_no_devices(wanted, devices):
    with pytest.raises(UsageError) as error:
        local_devices(wanted)
    assert str(error.value) == f"--devices takes a number of GPUs, or cpu:N to split the CPU. Received: {wanted!r}"


@pytest.mark.parametrize("gpus", [0, 2])
def test_more_gpus_than_there_are(gpus, devices):
    devices["GPU"] = ["some"] * gpus
    with pytest.raises(UsageError) as error:
        local_devices("3")
    assert str(error.value) == (
        f"TensorFlow sees {gpus} GPUs here (TF_CPP_MIN_LOG_LEVEL=0 shows why; cpu:3 splits the CPU instead). "
        "Received: --devices 3"
    )


# The strategy


@pytest.mark.parametrize("name", ["auto", "none"])
def test_one_device_is_no_strategy(name, devices):
    chosen = build_strategy(Hardware(name))
    assert chosen is tf.distribute.get_strategy() and chosen.num_replicas_in_sync == 1


def test_none_takes_the_first_gpu(devices):
    devices["GPU"] = ["a", "b"]
    assert build_strategy(Hardware("none")).num_replicas_in_sync == 1
    assert devices["visible GPU"] == "a"


@pytest.mark.parametrize(
    "name, wanted, expected",
    [
        ("mirrored", None, ["CPU:0"]),
        ("mirrored", "cpu:2", ["CPU:0", "CPU:1"]),
        ("auto", "cpu:2", ["CPU:0", "CPU:1"]),
    ],
)
def test_mirrored(name, wanted, expected, devices, monkeypatch):
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: ("mirrored", names))
    assert build_strategy(Hardware(name, wanted)) == ("mirrored", expected)


@pytest.mark.parametrize("text", ["", "{", tf_config()])
def test_mirrored_does_not_look_at_a_cluster(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    assert isinstance(build_strategy(Hardware("mirrored")), tf.distribute.MirroredStrategy)


def test_auto_takes_every_gpu(devices, monkeypatch):
    devices["GPU"] = ["a", "b"]
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: ("mirrored", names))
    assert build_strategy(Hardware()) == ("mirrored", ["GPU:0", "GPU:1"])


@pytest.mark.parametrize("name", ["auto", "multiworker"])
def test_a_cluster_comes_first(name, devices, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(index=1))
    monkeypatch.setattr(strategy, "_multiworker", lambda cluster, hardware: (cluster.task_id, hardware.strategy))
    assert build_strategy(Hardware(name)) == (1, name)


def test_one_device_does_not_look_at_a_cluster(devices, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{")
    assert build_strategy(Hardware("none")).num_replicas_in_sync == 1


@pytest.mark.parametrize(
    "hardware, environment, message",
    [
        (
            Hardware("multiworker"),
            {},
            "--strategy multiworker needs several workers in TF_CONFIG, or a SLURM step of several tasks; acl-tf "
            "launch starts some on this machine. Received: neither",
        ),
        (
            Hardware("multiworker"),
            {"TF_CONFIG": tf_config({"worker": ["host0:2222"]})},
            "--strategy multiworker needs several workers in TF_CONFIG, or a SLURM step of several tasks; acl-tf "
            "launch starts some on this machine. Received: neither",
        ),
        (Hardware("none", "cpu:2"), {}, "--strategy none uses one device. Received: --devices cpu:2"),
        (
            Hardware("auto", "cpu:2"),
            {"TF_CONFIG": tf_config()},
            "A worker has one CPU; start more workers instead. Received: --devices cpu:2",
        ),
    ],
)
def test_what_cannot_be_built(hardware, environment, message, devices, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as error:
        build_strategy(hardware)
    assert str(error.value) == message
