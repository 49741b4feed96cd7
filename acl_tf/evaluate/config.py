"""What an evaluation is asked for."""

from typing import Annotated, Any

from pydantic import Field

from acl_tf.config import CommandConfig, Count, DataConfig
from acl_tf.evaluate.attack_settings import parse_attack


class EvaluationDataConfig(DataConfig):
    """Which images to evaluate on."""

    split: str = "test"


class EvaluateConfig(CommandConfig):
    """An evaluation.

    Attributes:
        model: A run folder, a model folder or a `.keras` file.
        surrogate: Another one, on which the attacks are crafted.
        attacks: As `--attack` names them; none, with no corruptions either: `none` and `pgd20`.
        corruptions: `tfds` for CIFAR-10-C through TFDS, or the folder of the published `.npy` files.
        data: Which images; the model's own data set where nothing is said.
        batch_size: It does not change the results.
        seed: Of all attacks.
    """

    command = "evaluate"

    model: Annotated[str, Field(min_length=1)]
    surrogate: str | None = None
    attacks: tuple[str, ...] = ()
    corruptions: str | None = None
    data: EvaluationDataConfig = EvaluationDataConfig()
    batch_size: Count = 256
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def parsed_attacks(self) -> list[tuple[str, Any | None]]:
        """Returns names and settings of the attacks, each once.

        Raises:
            UsageError: If one is not as it should be.
        """
        texts = self.attacks or (() if self.corruptions else ("none", "pgd20"))
        return [parse_attack(text) for text in dict.fromkeys(texts)]
