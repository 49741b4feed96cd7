"""What each worker is told by environment variables: its cluster, its GPUs, its share of the CPU."""

import json
import os
from collections.abc import Mapping, Sequence

from acl_tf.launch.gpus import share, visible_gpus
from acl_tf.launch.ports import free_ports

# TensorFlow's own threads, and those of OpenMP, which oneDNN may use: both take all cores if nobody says how many.
THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")


def devices(environment: Mapping[str, str], workers: int) -> list[dict[str, str]]:
    """Returns the variables that share out this machine: its GPUs or, where it has none, its cores.

    Args:
        environment: Of this process. A number of threads that is set there is left alone.
        workers: How many share the machine.

    Raises:
        UsageError: If there are GPUs, and fewer of them than workers.
    """
    if gpus := visible_gpus(environment):
        return [{"CUDA_VISIBLE_DEVICES": ",".join(own)} for own in share(gpus, workers)]
    threads = str(max(1, _cores() // workers))
    return [{name: threads for name in THREADS if name not in environment} for _ in range(workers)]


def environments(environment: Mapping[str, str], own: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Returns the whole environment of each worker, in a cluster on ports that are free now.

    Args:
        environment: Of this process.
        own: What `devices` says for each worker.
    """
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(len(own))]}
    return [
        {
            **environment,
            **variables,
            "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
        }
        for index, variables in enumerate(own)
    ]


def _cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
