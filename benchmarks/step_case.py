"""A pre-training step to time."""

from dataclasses import asdict, dataclass
from typing import Any

from acl_tf.config import build
from acl_tf.pretrain.config import PretrainConfig

IMAGE_SHAPE = (32, 32, 3)


@dataclass(frozen=True)
class StepCase:
    """A DS step, of acl_tf or of PyTorch.

    Attributes:
        framework: Name of the framework: `acl_tf`, `pytorch` or `pytorch_lean`.
        precision: Precision, as a Keras dtype policy.
        arch: Architecture of the backbone.
        width: Factor of the backbone's channels.
        batch_size: Global batch size.
        attack_steps: Number of steps of PGD on both views.
        micro_batches: Number of parts in which the batch passes the network.
        steps_per_call: Number of steps in one call of a function.
        jit: Whether XLA compiles the step.
    """

    framework: str
    precision: str
    arch: str
    width: float
    batch_size: int
    attack_steps: int
    micro_batches: int = 1
    steps_per_call: int = 1
    jit: bool = False

    @property
    def workload(self) -> tuple[str, float, int]:
        """Settings that a case shares with the PyTorch case with which it is compared."""
        return self.arch, self.width, self.batch_size

    def config(self) -> PretrainConfig:
        """Returns the configuration of a run of `acl-tf pretrain` with this step.

        Raises:
            UsageError: If the settings are invalid.
        """
        return build(
            PretrainConfig,
            {
                "model": {"arch": self.arch, "width": self.width},
                "attack": {"steps": self.attack_steps},
                "training": {
                    "precision": self.precision,
                    "batch_size": self.batch_size,
                    "micro_batches": self.micro_batches,
                    "steps_per_call": self.steps_per_call,
                    "jit": self.jit,
                },
            },
        )

    def fields(self) -> dict[str, Any]:
        """Returns the settings as the fields of a row."""
        return asdict(self)
