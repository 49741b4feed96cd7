"""The configuration of a fine-tuning run."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from acl_tf.attacks import BALLS, build_attack
from acl_tf.attacks.config import ATTACK, suited_defaults
from acl_tf.config import (
    Choice,
    CommandConfig,
    Count,
    NonNegative,
    Number,
    Positive,
    Section,
    Sections,
    Settings,
    Share,
    as_tuple,
    known,
)
from acl_tf.data.config import DataConfig
from acl_tf.finetune import METHODS, Mode
from acl_tf.models import BACKBONES
from acl_tf.training.config import TrainingConfig

RANDOM = "random:"


def _labels(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and (0 < value <= 1 if isinstance(value, float) else value >= 1)):
        raise ValueError("a count from 1 (an integer), or a fraction above 0 and up to 1.0 (a decimal)")
    return value


Labels = Annotated[int | float, BeforeValidator(_labels)]


class LabelledDataConfig(DataConfig):
    """The images and labels to train on.

    Attributes:
        labels: Number or fraction of labels to use, stratified by class: an integer is a number, a decimal a fraction
            of the images outside the validation split; None: all.
        validation: Number of training images that are held out for validation; None: 5,000 of CIFAR, 10 % elsewhere.
    """

    labels: Labels | None = None
    validation: Count | None = None


class EncoderConfig(Section):
    """The encoder to start from.

    Attributes:
        source: A run or model folder, a model on the Hub (`user/name@revision`), or `random:ARCH` for an encoder that
            was not pre-trained.
        branch: Branch of the batch normalisation that is trained further; None: the one that the encoder's folder
            names.
        width: Factor by which the numbers of filters of a random encoder are multiplied; None: 1.
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
    """Random crops of padded images, and random mirroring; see `acl_tf.data.crop_flip.CropFlip`."""

    padding: Annotated[int, Field(ge=0)] = 4
    flip: bool = True


class ModeSettings(Section):
    """The settings that all methods have in common.

    Attributes:
        mode: `full`: all weights are trained; `linear`: the encoder is frozen.
    """

    mode: Mode = "full"


METHOD = Choice(METHODS, "method", "trades", shared=(ModeSettings,))


class BallConfig(Section):
    """The ball of the attack in validation, for methods that train without an attack.

    Attributes:
        norm: `linf`, `l2` or `l1`.
        epsilon: Radius of the ball, in pixels of [0, 1]; in l2 and l1 it is the norm over the whole image.
    """

    norm: Annotated[str, known(BALLS)] = "linf"
    epsilon: NonNegative = 8 / 255

    @classmethod
    def of(cls, section: Section) -> "BallConfig":
        """Returns the ball of a section `attack`; for an attack without a norm, it is the l∞ ball."""
        if isinstance(section, cls):
            return section
        attack = build_attack(section)
        return cls(norm=attack.norm or "linf", epsilon=attack.epsilon)


class StepwiseSGDConfig(Section):
    """SGD whose learning rate falls in steps.

    Attributes:
        learning_rate: Learning rate at the beginning.
        momentum: Factor of the momentum buffer at each step; gradients are added undampened.
        weight_decay: Coefficient of the weight decay, which is added to the gradient (coupled).
        decay_epochs: Epochs after which the rate is multiplied by `decay_factor`; None: those of `decay_at`.
        decay_at: Epochs after which the rate is multiplied, as shares of all epochs.
        decay_factor: Factor by which the rate is multiplied.
    """

    learning_rate: Positive = 0.1
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 2e-4
    decay_epochs: Annotated[tuple[Count, ...], as_tuple] | None = None
    decay_at: Annotated[tuple[Share, ...], as_tuple] = (0.6, 0.8)
    decay_factor: Annotated[Number, Field(gt=0, le=1)] = 0.1


class ValidationConfig(Section):
    """The validation, which measures accuracy, and robust accuracy under PGD in the attack's ball.

    Attributes:
        images: Number of images, from the beginning of the validation split.
        every: Number of epochs between two measurements; the last epoch is always measured.
        steps: Number of steps of PGD, which has one uniform random start and steps of a quarter of the radius.
    """

    images: Count = 500
    every: Count = 1
    steps: Annotated[int, Field(ge=1)] = 20


class FinetuneTrainingConfig(TrainingConfig):
    """The section `training`, with the defaults of fine-tuning."""

    epochs: Count = 25
    batch_size: Annotated[int, Field(ge=2)] = 128


class FinetuneConfig(CommandConfig):
    """The configuration of a fine-tuning run. The defaults are the paper's for CIFAR-10: TRADES on all labels.

    The classes of the sections `method` and `attack` depend on the chosen method; `acl_tf.config.build` builds them.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.1.1.
    """

    command = "finetune"

    encoder: EncoderConfig
    data: LabelledDataConfig = LabelledDataConfig()
    augmentation: CropFlipConfig = CropFlipConfig()
    method: Any
    attack: Any
    optimizer: StepwiseSGDConfig = StepwiseSGDConfig()
    training: FinetuneTrainingConfig = FinetuneTrainingConfig()
    validation: ValidationConfig = ValidationConfig()

    @classmethod
    def sections(cls, settings: Settings) -> Sections:
        attacks = METHOD.class_in(settings).attacks
        return {
            "method": METHOD.section_in(settings),
            "attack": ATTACK.section_in(settings) if attacks else BallConfig,
        }

    @classmethod
    def published(cls, settings: Settings) -> Settings:
        return suited_defaults(METHOD.class_in(settings), settings)

    @classmethod
    def chosen(cls, settings: Settings) -> list[Any]:
        method = METHOD.class_in(settings)
        attack = [ATTACK.class_in(settings)] if method.attacks else []
        return [method, *attack, *random_backbone(settings)]


def random_backbone(settings: Settings) -> list[Any]:
    """Returns a list with the backbone that `random:ARCH` names; it is empty if the encoder comes from a folder."""
    source = settings["encoder"]["source"]
    return [BACKBONES[source.removeprefix(RANDOM)]] if source.startswith(RANDOM) else []
