"""The peak memory of a step, counted from when it is built."""

import resource
import sys
from collections.abc import Callable
from typing import Any

Measure = Callable[[], dict[str, Any]]


def tensorflow_memory() -> Measure:
    """Returns a function that measures TensorFlow's peak memory on the first GPU, or else that of this process."""
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return process_memory()
    return lambda: _row(tf.config.experimental.get_memory_info("GPU:0")["peak"], "device")


def pytorch_memory() -> Measure:
    """Returns a function that measures PyTorch's peak memory on the GPU, or else that of this process."""
    import torch

    if not torch.cuda.is_available():
        return process_memory()
    return lambda: _row(torch.cuda.max_memory_allocated(), "device")


def process_memory() -> Measure:
    """Returns a function that measures the growth of this process' peak resident memory from now on.

    Libraries and weights are in memory by now and do not count; tracing and compilation do.
    """
    before = _peak_resident()
    return lambda: _row(_peak_resident() - before, "process")


def _row(peak: int, of: str) -> dict[str, Any]:
    return {"peak_memory_bytes": peak, "memory_of": of}


def _peak_resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # macOS counts in bytes, Linux in KiB
