"""The environment variables of each worker: its cluster, its GPUs, its share of the CPU."""

import json
import os
from collections.abc import Mapping, Sequence

from acl_tf.launch.gpus import share, visible_gpus
from acl_tf.launch.ports import free_ports

# Numbers of TensorFlow's threads and of OpenMP's, which oneDNN may use; by default both take all cores.
THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")


def devices(environment: Mapping[str, str], workers: int) -> list[dict[str, str]]:
    """Returns the variables that divide this machine among workers: its GPUs or, if it has none, its cores.

    Args:
        environment: Environment of this process. Numbers of threads that are set there are kept.
        workers: Number of workers that share the machine.

    Raises:
        UsageError: If there are GPUs, and fewer of them than workers.
    """
    if gpus := visible_gpus(environment):
        return [{"CUDA_VISIBLE_DEVICES": ",".join(own)} for own in share(gpus, workers)]
    threads = str(max(1, _cores() // workers))
    return [{name: threads for name in THREADS if name not in environment} for _ in range(workers)]


def environments(environment: Mapping[str, str], own: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Returns the complete environment of each worker, in a cluster on ports that are free now.

    Args:
        environment: Environment of this process.
        own: Variables of each worker, as `devices` returns them.
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
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
