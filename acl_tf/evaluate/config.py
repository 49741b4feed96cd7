"""What an evaluation is asked for."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from acl_tf.config import CommandConfig, Count, Positive
from acl_tf.data.config import DataConfig

if TYPE_CHECKING:
    from acl_tf.evaluate.evaluator import Evaluator


class EvaluationDataConfig(DataConfig):
    """Which images to evaluate on."""

    split: str = "test"


class EvaluateConfig(CommandConfig):
    """An evaluation.

    Attributes:
        model: A run folder, a model folder, a `.keras` file or the folder of a SavedModel.
        surrogate: Another one, on which the attacks are crafted.
        attacks: As `--attack` names them; none, with no corruptions either: `none` and `pgd20`.
        corruptions: `tfds` for CIFAR-10-C through TFDS, or the folder of the published `.npy` files.
        sigma: Standard deviation of the Gaussian noise that the model is smoothed by; none: it is taken as it is.
        samples: Draws of that noise that vote on an image; none: 100.
        data: Which images; the model's own data set where nothing is said.
        batch_size: It does not change the results.
        seed: Of all attacks.
    """

    command = "evaluate"

    model: Annotated[str, Field(min_length=1)]
    surrogate: str | None = None
    attacks: tuple[str, ...] = ()
    corruptions: str | None = None
    sigma: Positive | None = None
    samples: Count | None = None
    data: EvaluationDataConfig = EvaluationDataConfig()
    batch_size: Count = 256
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _only_noise_has_samples(self) -> "EvaluateConfig":
        if self.samples is not None and self.sigma is None:
            raise ValueError(f"samples are draws of noise, which needs sigma too. Received: samples={self.samples}")
        return self

    @property
    def resolved_samples(self) -> int:
        """`samples`, or its default."""
        return self.samples or 100

    def evaluators(self) -> list["Evaluator"]:
        """Returns what measures the attacks, each once; it needs TensorFlow.

        Raises:
            UsageError: If one is not as it should be.
        """
        from acl_tf.evaluate.parse import parse_attack

        texts = self.attacks or (() if self.corruptions else ("none", "pgd20"))
        return [parse_attack(text) for text in dict.fromkeys(texts)]
