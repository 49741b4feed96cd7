"""The devices that a command computes on, as its options say."""

from dataclasses import dataclass

STRATEGIES = ("auto", "none", "mirrored", "multiworker")


@dataclass(frozen=True)
class Hardware:
    """The devices that a command computes on; its results do not depend on them.

    Attributes:
        strategy: `none` (one device), `mirrored` (GPUs of this host), `multiworker` (the workers of `TF_CONFIG`, or of
            a SLURM step), or `auto`: the last of these for which there is something.
        devices: Number of GPUs of this host, or `cpu:N` to split its CPU in N, in order to try things out; None: all.
        startup_timeout: Seconds that a worker waits for the others.
    """

    strategy: str = "auto"
    devices: str | None = None
    startup_timeout: float = 300.0
