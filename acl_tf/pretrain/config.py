"""The configuration of a pre-training run."""

from typing import Annotated, Literal

from pydantic import model_validator

from acl_tf.attacks.config import AttackConfig
from acl_tf.config import CommandConfig, Count, NonNegative, Positive, Section, known
from acl_tf.data.config import AugmentationConfig, DataConfig
from acl_tf.models import BACKBONES
from acl_tf.pretrain import OBJECTIVES
from acl_tf.training.config import OptimizerConfig, TrainingConfig


class ModelConfig(Section):
    """The encoder and its projection head; see `acl_tf.models`."""

    arch: Annotated[str, known(BACKBONES)] = "resnet18"
    width: Positive = 1.0
    stem: Literal["cifar", "imagenet"] = "cifar"
    batch_norm: Literal["paired", "single"] = "paired"
    projection_blocks: Literal[2, 3] = 3


class ObjectiveConfig(Section):
    """What is contrasted; see `acl_tf.pretrain`. `alpha` weighs the adversarial stream of DS."""

    variant: Annotated[str, known(OBJECTIVES)] = "ds"
    alpha: NonNegative = 1.0
    temperature: Positive = 0.5


class PretrainTrainingConfig(TrainingConfig):
    """How long and how to pre-train.

    Attributes:
        micro_batches: In how many parts a batch passes the network, one after the other, to save memory; the negatives
            are those of the whole batch, the statistics of batch normalisation those of each part.
    """

    micro_batches: Count = 1


class PretrainConfig(CommandConfig):
    """A pre-training run. The defaults are ACL's for CIFAR-10.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.
    """

    command = "pretrain"

    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    attack: AttackConfig = AttackConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: PretrainTrainingConfig = PretrainTrainingConfig()

    @model_validator(mode="after")
    def _wide_networks_have_no_stem(self) -> "PretrainConfig":
        if self.model.arch.startswith("wrn") and self.model.stem != "cifar":
            raise ValueError(f"model.stem: expected cifar, the only one of {self.model.arch}. Received: imagenet")
        return self

    @model_validator(mode="after")
    def _parts_are_equal(self) -> "PretrainConfig":
        batch_size, parts = self.training.batch_size, self.training.micro_batches
        if batch_size % parts or batch_size < 2 * parts:
            raise ValueError(
                f"training.micro_batches: expected a divisor of the batch size, {batch_size}, that leaves parts of at "
                f"least 2 images. Received: {parts}"
            )
        return self
