"""The configuration of a pre-training run."""

from typing import Any

from pydantic import model_validator

from acl_tf.attacks.config import ATTACK, suited_defaults
from acl_tf.config import Choice, CommandConfig, Count, Sections, Settings
from acl_tf.data import ORDERS
from acl_tf.data.config import DataConfig
from acl_tf.models import BACKBONES
from acl_tf.pretrain import OBJECTIVES
from acl_tf.training import OPTIMIZERS
from acl_tf.training.config import ScheduleSettings, TrainingConfig

OBJECTIVE = Choice(OBJECTIVES, "objective", "ds", key="variant")
OPTIMIZER = Choice(OPTIMIZERS, "optimizer", "lars", shared=(ScheduleSettings,))
ORDER = Choice(ORDERS, "order", "shuffled")


class PretrainTrainingConfig(TrainingConfig):
    """How long and how to pre-train.

    Attributes:
        micro_batches: Number of parts in which a batch passes the network, one after the other, to save memory; the
            negatives are those of the whole batch, the statistics of batch normalisation those of each part.
    """

    micro_batches: Count = 1


class PretrainConfig(CommandConfig):
    """A pre-training run. The defaults are ACL's for CIFAR-10.

    The sections without a class of their own are those of the chosen objective, attack, order and optimiser;
    `acl_tf.config.build` makes them.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.
    """

    command = "pretrain"

    data: DataConfig = DataConfig()
    order: Any
    augmentation: Any
    model: Any
    objective: Any
    attack: Any
    optimizer: Any
    training: PretrainTrainingConfig = PretrainTrainingConfig()

    @classmethod
    def sections(cls, settings: Settings) -> Sections:
        objective = OBJECTIVE.class_in(settings)
        return {
            "order": ORDER.section_in(settings),
            "augmentation": objective.Augmentation,
            "model": objective.Model,
            "objective": OBJECTIVE.section_in(settings),
            "attack": ATTACK.section_in(settings) if objective.attacks else None,
            "optimizer": OPTIMIZER.section_in(settings),
        }

    @classmethod
    def published(cls, settings: Settings) -> Settings:
        return suited_defaults(OBJECTIVE.class_in(settings), settings)

    @classmethod
    def chosen(cls, settings: Settings) -> list[Any]:
        choices = [OBJECTIVE, ORDER, OPTIMIZER, *([ATTACK] if settings["attack"] else [])]
        return [*(choice.class_in(settings) for choice in choices), BACKBONES[settings["model"]["arch"]]]

    @model_validator(mode="after")
    def _wide_networks_have_no_stem(self) -> "PretrainConfig":
        if self.model.arch.startswith("wrn") and self.model.stem != "cifar":
            raise ValueError(f"model.stem: expected cifar, the only one of {self.model.arch}. Received: imagenet")
        return self

    @model_validator(mode="after")
    def _only_the_cifar_stem_of_a_resnet_pads_more(self) -> "PretrainConfig":
        if self.model.stem_padding != 1 and (self.model.arch.startswith("wrn") or self.model.stem != "cifar"):
            raise ValueError(
                f"model.stem_padding: expected 1, the only one of {self.model.arch} with the {self.model.stem} stem. "
                f"Received: {self.model.stem_padding}"
            )
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
