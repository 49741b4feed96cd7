"""The GPUs of this machine, found without TensorFlow, and their division among workers."""

import logging
import subprocess
from collections.abc import Mapping, Sequence

from acl_tf.errors import UsageError

logger = logging.getLogger(__name__)


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Returns the GPUs that a process may use, as `CUDA_VISIBLE_DEVICES` names them.

    Args:
        environment: Environment of the process. Without `CUDA_VISIBLE_DEVICES`, all GPUs of `nvidia-smi` count.
    """
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [str(number) for number in range(_installed())]
    names = [name.strip() for name in chosen.split(",")]
    # CUDA ignores all devices after an invalid one; "" and "-1" are the usual ways to hide all.
    invalid = next((place for place, name in enumerate(names) if name in ("", "-1")), len(names))
    return names[:invalid]


def share(gpus: Sequence[str], workers: int) -> list[list[str]]:
    """Returns the GPUs of each worker: consecutive ones, and equally many for all.

    TensorFlow assumes that all workers have the same number of GPUs. Those that are left over stay idle.

    Args:
        gpus: Names of the GPUs; at least one.
        workers: Number of workers that share them.

    Raises:
        UsageError: If there are fewer GPUs than workers.
    """
    each = len(gpus) // workers
    if not each:
        raise UsageError(
            f"Every worker needs a GPU of its own, and {len(gpus)} can be seen here; lower --workers, or set "
            f"CUDA_VISIBLE_DEVICES= to run on the CPU. Received: --workers {workers}"
        )
    if left := len(gpus) - each * workers:
        logger.warning("%d of %d GPUs idle: all workers have the same number of them", left, len(gpus))
    return [list(gpus[first : first + each]) for first in range(0, each * workers, each)]


def _installed() -> int:
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no driver, no GPU
        return 0
    if done.returncode:
        logger.warning(
            "No GPU is used: nvidia-smi ended with exit code %d: %s",
            done.returncode,
            done.stdout.strip() or "no output",
        )
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
