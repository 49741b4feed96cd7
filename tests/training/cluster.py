"""Processes that make a cluster, on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

from acl_tf.launch.ports import free_ports
from tests.conftest import ROOT


def tf_configs(*jobs: str) -> list[str]:
    """Returns the `TF_CONFIG` of each process of a cluster, by what it is: `"chief"` or `"worker"`."""
    cluster: dict[str, list[str]] = {}
    tasks = []
    for job, port in zip(jobs, free_ports(len(jobs)), strict=True):
        addresses = cluster.setdefault(job, [])
        tasks.append({"type": job, "index": len(addresses)})
        addresses.append(f"127.0.0.1:{port}")
    return [json.dumps({"cluster": cluster, "task": task}) for task in tasks]


def call(function: Callable[..., None], *arguments: object, tf_config: str = "") -> subprocess.Popen:
    """Starts a process that calls a function of a test's module; what it prints is to be read from it."""
    code = f"from {function.__module__} import {function.__name__}; {function.__name__}(*{arguments!r})"
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TF_CONFIG": tf_config or "{}"}, **how)


def printed(*processes: subprocess.Popen) -> list[str]:
    """Returns what each process has printed; they must all end well."""
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return [out for out, _ in outputs]
