"""Where a command computes, as its options say."""

from dataclasses import dataclass

STRATEGIES = ("auto", "none", "mirrored", "multiworker")


@dataclass(frozen=True)
class Hardware:
    """Where a command computes; what it computes does not depend on it.

    Attributes:
        strategy: `none` (one device), `mirrored` (GPUs of this host), `multiworker` (the workers of `TF_CONFIG`, or of
            a SLURM step), or `auto`: the last of these for which there is something.
        devices: How many GPUs of this host, or `cpu:N` to split its CPU in N, in order to try things out; None: all.
        startup_timeout: For how many seconds a worker waits for the others.
    """

    strategy: str = "auto"
    devices: str | None = None
    startup_timeout: float = 300.0
