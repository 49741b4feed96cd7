"""The configuration of a fine-tuning run."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from acl_tf.attacks.config import AttackConfig
from acl_tf.config import CommandConfig, Count, NonNegative, Number, Positive, Section, Share, as_tuple, known
from acl_tf.data.config import DataConfig
from acl_tf.finetune import METHODS
from acl_tf.training.config import TrainingConfig

RANDOM = "random:"


def _labels(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and (0 < value <= 1 if isinstance(value, float) else value >= 1)):
        raise ValueError("a count from 1 (an integer), or a fraction above 0 and up to 1.0 (a decimal)")
    return value


Labels = Annotated[int | float, BeforeValidator(_labels)]


class LabelledDataConfig(DataConfig):
    """Which images and labels to train on.

    Attributes:
        labels: How many labels to use, stratified by class: an integer is a count, a decimal a fraction of the images
            that remain beside the validation split; none: all.
        validation: How many training images are held out to validate on; none: 5,000 of CIFAR, 10 % elsewhere.
    """

    labels: Labels | None = None
    validation: Count | None = None


class EncoderConfig(Section):
    """Where the encoder comes from.

    Attributes:
        source: A run or model folder, a model on the Hub (`user/name@revision`), or `random:ARCH` for one that was
            not pre-trained.
        branch: Whose batch normalisation to go on with; none: the one that `config.json` of the encoder names.
        width: Of a random encoder; none: 1.
    """

    source: Annotated[str, Field(min_length=1)]
    branch: Literal["standard", "adversarial"] | None = None
    width: Positive | None = None

    @model_validator(mode="after")
    def _only_random_encoders_have_a_free_width(self) -> "EncoderConfig":
        if self.width is not None and not self.is_random:
            raise ValueError("no width, which is for random:ARCH only; an encoder in a folder has its own")
        return self

    @property
    def is_random(self) -> bool:
        """Whether the encoder has random weights."""
        return self.source.startswith(RANDOM)


class CropFlipConfig(Section):
    """Padding and random crop, and mirror images; see `acl_tf.data.crop_flip.CropFlip`."""

    padding: Annotated[int, Field(ge=0)] = 4
    flip: bool = True


class MethodConfig(Section):
    """How the classifier is trained; see `acl_tf.finetune`.

    Attributes:
        name: `standard`, `at` (adversarial training), `gaussian` or `trades`.
        mode: `full`, or `linear`: the encoder is frozen.
        beta: Weight of TRADES' KL divergence.
        sigma: Standard deviation of `gaussian`'s noise, in pixels of [0, 1], which must be given; none of the others.
    """

    name: Annotated[str, known(METHODS)] = "trades"
    mode: Literal["full", "linear"] = "full"
    beta: NonNegative = 6.0
    sigma: Positive | None = None

    @model_validator(mode="after")
    def _gaussian_noise_has_a_sigma(self) -> "MethodConfig":
        if self.name == "gaussian" and self.sigma is None:
            raise ValueError("sigma, the standard deviation of gaussian's noise, for example 0.25")
        if self.name != "gaussian" and self.sigma is not None:
            raise ValueError(f"no sigma, which is for the method gaussian only, not for {self.name}")
        return self


class FinetuneAttackConfig(AttackConfig):
    """L∞ PGD in training; on the KL divergence in TRADES, on cross-entropy in AT."""

    steps: Annotated[int, Field(ge=0)] = 10


class StepwiseSGDConfig(Section):
    """SGD whose learning rate falls in steps.

    Attributes:
        learning_rate: At the start.
        momentum: Not dampened.
        weight_decay: Coupled.
        decay_epochs: After which epochs the rate is multiplied by `decay_factor`; none: at `decay_at`.
        decay_at: The same as shares of all epochs.
        decay_factor: What the rate is multiplied by.
    """

    learning_rate: Positive = 0.1
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 2e-4
    decay_epochs: Annotated[tuple[Count, ...], as_tuple] | None = None
    decay_at: Annotated[tuple[Share, ...], as_tuple] = (0.6, 0.8)
    decay_factor: Annotated[Number, Field(gt=0, le=1)] = 0.1


class ValidationConfig(Section):
    """What is measured on the validation split: accuracy, and robust accuracy under PGD in the attack's ball.

    Attributes:
        images: The first so many of the split.
        every: After every so many epochs, and after the last.
        steps: Of PGD, from one uniform random start; each a quarter of the radius long.
    """

    images: Count = 500
    every: Count = 1
    steps: Annotated[int, Field(ge=1)] = 20


class FinetuneTrainingConfig(TrainingConfig):
    """How long and how to train."""

    epochs: Count = 25
    batch_size: Annotated[int, Field(ge=2)] = 128


class FinetuneConfig(CommandConfig):
    """A fine-tuning run. The defaults are the paper's for CIFAR-10: TRADES on all labels.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.1.1.
    """

    command = "finetune"

    encoder: EncoderConfig
    data: LabelledDataConfig = LabelledDataConfig()
    augmentation: CropFlipConfig = CropFlipConfig()
    method: MethodConfig = MethodConfig()
    attack: FinetuneAttackConfig = FinetuneAttackConfig()
    optimizer: StepwiseSGDConfig = StepwiseSGDConfig()
    training: FinetuneTrainingConfig = FinetuneTrainingConfig()
    validation: ValidationConfig = ValidationConfig()
