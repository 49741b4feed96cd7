"""Which devices share a step: from options to a `tf.distribute.Strategy`."""

import contextlib
import faulthandler
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, cast

import tensorflow as tf

from acl_tf.errors import ClusterError, UsageError
from acl_tf.training.hardware import Hardware
from acl_tf.training.rendezvous import meet

TASK_TYPES = ("chief", "worker")


def build_strategy(hardware: Hardware) -> tf.distribute.Strategy:
    """Makes the strategy that the options mean; the first thing that a process asks TensorFlow for.

    Args:
        hardware: The options.

    Returns:
        `tf.distribute.get_strategy()`, TensorFlow's default, for one device.

    Raises:
        UsageError: If there are fewer devices than asked for, or no cluster, or a malformed one.
        ClusterError: If the other workers do not appear in time, or this one's address is taken.
    """
    devices = local_devices(hardware.devices)
    cluster = cluster_of_environment() if hardware.strategy in ("auto", "multiworker") else None
    if hardware.strategy == "multiworker" and cluster is None:
        raise UsageError(
            "--strategy multiworker needs several workers in TF_CONFIG, or a SLURM step of several tasks; acl-tf "
            "launch starts some on this machine. Received: neither"
        )
    if cluster is not None:
        return _multiworker(cluster, hardware)
    if hardware.strategy == "none" and len(devices) > 1 and hardware.devices is not None:
        raise UsageError(f"--strategy none uses one device. Received: --devices {hardware.devices}")
    if hardware.strategy == "mirrored" or (hardware.strategy == "auto" and len(devices) > 1):
        os.environ.pop("TF_CONFIG", None)  # TensorFlow would parse it here too, for nothing
        return tf.distribute.MirroredStrategy(devices)
    if len(devices) > 1:
        tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[0], "GPU")
    return tf.distribute.get_strategy()


def local_devices(wanted: str | None) -> list[str]:
    """Returns the names of this host's devices to use, and hides its other GPUs.

    Args:
        wanted: A number of GPUs, or `cpu:N`; None: all GPUs, or else the CPU.

    Raises:
        UsageError: If it is neither, or if there are fewer GPUs.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if wanted is None:
        return [f"GPU:{number}" for number in range(len(gpus))] or ["CPU:0"]
    match = re.fullmatch(r"(cpu:)?([1-9]\d{0,3})", wanted.lower())
    if match is None:
        raise UsageError(f"--devices takes a number of GPUs, or cpu:N to split the CPU. Received: {wanted!r}")
    count = int(match[2])
    if match[1]:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_visible_devices([], "GPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        return [f"CPU:{number}" for number in range(count)]
    if count > len(gpus):
        raise UsageError(
            f"TensorFlow sees {len(gpus)} GPUs here (TF_CPP_MIN_LOG_LEVEL=0 shows why; cpu:{count} splits the CPU "
            f"instead). Received: --devices {wanted}"
        )
    tf.config.set_visible_devices(gpus[:count], "GPU")
    return [f"GPU:{number}" for number in range(count)]


def cluster_of_environment(
    environment: Mapping[str, str] = os.environ,
) -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """Returns the cluster that this process is a worker of, or None.

    Args:
        environment: `TF_CONFIG`, or the variables of a SLURM step.

    Raises:
        UsageError: If they are malformed.
    """
    if environment.get("TF_CONFIG", "").strip() not in ("", "{}"):
        task_type, index, spec = _checked(environment["TF_CONFIG"])
    elif environment.get("SLURM_STEP_NUM_TASKS", "1") != "1" and "SLURM_PROCID" in environment:
        task_type, index, spec = _slurm(environment)
    else:
        return None
    if sum(map(len, spec.values())) == 1:
        return None
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(spec),
        task_type=task_type,
        task_id=index,
        num_accelerators={"GPU": len(tf.config.get_visible_devices("GPU"))},
        rpc_layer="grpc",
    )


def _checked(text: str) -> tuple[str, int, dict[str, list[str]]]:
    """Returns type and index of the task, and the addresses, of a `TF_CONFIG`."""
    example = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        spec = {str(job): [str(address) for address in addresses] for job, addresses in cluster.items()}
        task_type, index = str(task["type"]), int(task["index"])
        if not all(isinstance(addresses, list) for addresses in cluster.values()):
            raise TypeError("the addresses of a job are a list")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        received = " ".join(text.split())
        raise UsageError(f"TF_CONFIG must look like {example}. Received: {received} ({error})") from error
    strange = sorted(set(spec) - set(TASK_TYPES))
    if strange or task_type not in spec:
        raise UsageError(
            f"TF_CONFIG may name workers and one chief, and the task must be one of them. "
            f"Received: jobs {sorted(spec)}, task of type {task_type!r}"
        )
    if not 0 <= index < len(spec[task_type]) or len(spec.get("chief", [])) > 1:
        raise UsageError(
            f"The task of TF_CONFIG must be one of the {len(spec[task_type])} of its type, counted from 0, and there "
            f"is one chief at most. Received: index {index}"
        )
    addresses = [address for job in spec.values() for address in job]
    for address in addresses:
        if not re.fullmatch(r".+:\d{1,5}", address) or addresses.count(address) > 1:
            raise UsageError(f"TF_CONFIG must name each worker once, as host:port. Received: {address!r}")
    return task_type, index, spec


def _slurm(environment: Mapping[str, str]) -> tuple[str, int, dict[str, list[str]]]:
    """Returns type and index of the task, and the addresses, of a SLURM step."""
    try:
        # GPUs are SLURM's to share out (--gpus-per-task); the numbers given here only keep the resolver from asking.
        tasks = int(environment["SLURM_STEP_NUM_TASKS"])
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
        spec = resolver.cluster_spec().as_dict()
        task_type, index = resolver.get_task_info()
    except (ValueError, LookupError, RuntimeError) as error:
        raise UsageError(f"The SLURM_STEP_* variables of this step cannot be read: {error}") from error
    # TensorFlow sorts the hosts by name (node10 before node2), SLURM numbers its tasks in its own order.
    host, here = spec[task_type][index].rsplit(":", 1)[0], environment.get("SLURMD_NODENAME")
    if here and here != host:
        raise UsageError(
            f"TensorFlow expects task {index} of this SLURM step on {host}, and it runs on {here}: set TF_CONFIG "
            f"instead. Received: SLURM_STEP_NODELIST={environment.get('SLURM_STEP_NODELIST')}"
        )
    return task_type, index, spec


def _multiworker(cluster: tf.distribute.cluster_resolver.ClusterResolver, hardware: Hardware) -> tf.distribute.Strategy:
    if hardware.devices and hardware.devices.lower().startswith("cpu"):
        raise UsageError(f"A worker has one CPU; start more workers instead. Received: --devices {hardware.devices}")
    spec = cluster.cluster_spec()
    own = spec.task_address(cluster.task_type, cluster.task_id)
    addresses = [address for job in spec.as_dict().values() for address in job]
    meet(own, [address for address in addresses if address != own], hardware.startup_timeout)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _ending_after(max(60.0, hardware.startup_timeout), addresses):
            return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=cluster)
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0]
        raise ClusterError(f"This worker cannot join the others: {reason}. Received: {own}") from error
    finally:
        for number, handler in handlers.items():  # TensorFlow's own leaves SIGTERM without effect
            signal.signal(number, handler)


@contextlib.contextmanager
def _ending_after(seconds: float, addresses: Sequence[str]) -> Iterator[None]:
    """Ends the process where a worker that has been seen is lost before TensorFlow has found it.

    Nothing of Python's runs while TensorFlow waits. `faulthandler` can end the process then; what it has to say goes to
    a shell, which says it in one line.
    """
    message = f"acl-tf: error: TensorFlow lost a worker at the start. Received: {', '.join(addresses)}, {seconds:g} s"
    shell = subprocess.Popen(["/bin/sh", "-c", 'read -r line && echo "$0" >&2', message], stdin=subprocess.PIPE)
    with shell:
        faulthandler.dump_traceback_later(seconds, exit=True, file=cast(IO[bytes], shell.stdin).fileno())
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
