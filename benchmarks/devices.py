"""The names of the devices of this machine."""

import os
import platform
from pathlib import Path


def tensorflow_device() -> tuple[str, str]:
    """Returns `GPU` or `CPU`, and the name of the first such device."""
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        return "GPU", tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)
    return "CPU", cpu_name()


def pytorch_device() -> tuple[str, str]:
    """Returns `GPU` or `CPU`, and the name of the first such device."""
    import torch

    return ("GPU", torch.cuda.get_device_name()) if torch.cuda.is_available() else ("CPU", cpu_name())


def cpu_name() -> str:
    """Returns the model of the processor, if the system tells it, or else its architecture."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
