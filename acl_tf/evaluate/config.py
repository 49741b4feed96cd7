"""The configuration of an evaluation."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from acl_tf.config import CommandConfig, Count, Positive
from acl_tf.data.config import DataConfig

if TYPE_CHECKING:
    from acl_tf.evaluate.evaluator import Evaluator


class EvaluationDataConfig(DataConfig):
    """The images to evaluate on."""

    split: str = "test"


class EvaluateConfig(CommandConfig):
    """The configuration of an evaluation.

    Attributes:
        model: A run folder, a model folder, a `.keras` file or the folder of a SavedModel.
        surrogate: Another model, on which the attacks are crafted; None: `model`.
        attacks: Attacks, each in the form of `--attack`; if there are neither attacks nor corruptions, `none` and
            `pgd20`.
        corruptions: `tfds` for CIFAR-10-C through TFDS, or the folder of the published `.npy` files; None: none.
        sigma: Standard deviation of the Gaussian noise with which the model is smoothed; None: it is not smoothed.
        samples: Number of noisy copies that vote on an image; None: 100.
        data: Images to evaluate on; by default those of the model's own data set.
        batch_size: Number of images in a batch; it changes no result.
        seed: Seed of all attacks.
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
        """Returns the evaluators of the attacks, without repetitions; needs TensorFlow.

        Raises:
            UsageError: If an attack has a wrong name or setting.
        """
        from acl_tf.evaluate.parse import parse_attack

        texts = self.attacks or (() if self.corruptions else ("none", "pgd20"))
        return [parse_attack(text) for text in dict.fromkeys(texts)]
