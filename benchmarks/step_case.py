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
        framework: `acl_tf`, `pytorch` or `pytorch_lean`.
        precision: As a Keras dtype policy.
        arch: Backbone.
        width: Multiplies its channels.
        batch_size: The global one.
        attack_steps: Of PGD on both views.
        micro_batches: In how many parts the batch passes the network.
        steps_per_call: How many steps are taken at a time.
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
        """What cases have in common that are worth comparing with PyTorch's."""
        return self.arch, self.width, self.batch_size

    def config(self) -> PretrainConfig:
        """Returns the configuration of such a run of `acl-tf pretrain`.

        Raises:
            UsageError: If there can be none.
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
        """Returns what a row says of it."""
        return asdict(self)
