"""The configuration of a semi-supervised run."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from acl_tf.config import CommandConfig, Count, NonNegative, Positive, Probability, Section, Share, as_tuple
from acl_tf.finetune.config import (
    CropFlipConfig,
    EncoderConfig,
    FinetuneAttackConfig,
    LabelledDataConfig,
    Labels,
    StepwiseSGDConfig,
    ValidationConfig,
)
from acl_tf.training.config import RunConfig


class FewLabelsDataConfig(LabelledDataConfig):
    """Which images to train on, and how many of their labels; all other images are taken as unlabelled."""

    labels: Labels = 0.1


class TeacherOptimizerConfig(StepwiseSGDConfig):
    """SGD of the pseudo-label teacher."""

    decay_at: Annotated[tuple[Share, ...], as_tuple] = (0.4, 0.6)


class TeacherConfig(Section):
    """Standard training on the labelled images; its last epoch makes the pseudo-labels.

    Attributes:
        branch: Of the encoder.
        epochs: Passes over the labelled images.
        batch_size: In images.
        optimizer: SGD whose learning rate falls in steps.
    """

    branch: Literal["standard", "adversarial"] = "standard"
    epochs: Count = 100
    batch_size: Annotated[int, Field(ge=2)] = 128
    optimizer: TeacherOptimizerConfig = TeacherOptimizerConfig()


class DistillationConfig(Section):
    """The loss of the last step.

    Attributes:
        alpha: Weight of the distillation of labelled images; see `acl_tf.finetune.distillation`.
        temperature: Of the distillation.
        beta: Weight of KL(p(x) ‖ p(x')).
        online_weight: Of UAT++: weight of the online target; see `acl_tf.finetune.uat`.
        labelled_per_batch: Labelled images in a batch; none: 2 below 5 % of labels, and else 25.
        unlabelled_per_batch: Unlabelled images in a batch; none: 198 below 5 % of labels, and else 225.
    """

    alpha: Probability = 0.5
    temperature: Positive = 1.0
    beta: NonNegative = 6.0
    online_weight: NonNegative = 5.0
    labelled_per_batch: Count | None = None
    unlabelled_per_batch: Count | None = None

    def batch_sizes(self, labelled: int, unlabelled: int) -> tuple[int, int]:
        """Returns how many labelled and unlabelled images a batch has, no more than there are.

        Args:
            labelled: Number of labelled images.
            unlabelled: Number of unlabelled ones.
        """
        few = labelled < 0.05 * (labelled + unlabelled)
        sizes = self.labelled_per_batch or (2 if few else 25), self.unlabelled_per_batch or (198 if few else 225)
        return min(sizes[0], labelled), min(sizes[1], unlabelled)


class StudentOptimizerConfig(StepwiseSGDConfig):
    """SGD of the last step."""

    weight_decay: NonNegative = 5e-4
    decay_at: Annotated[tuple[Share, ...], as_tuple] = (1 / 3, 2 / 3)


class StudentRunConfig(RunConfig):
    """How long and how to train in the last step; an epoch passes over the unlabelled images."""

    epochs: Count = 15


class SemiSupervisedConfig(CommandConfig):
    """A semi-supervised run on a pre-trained encoder. The defaults are the paper's for CIFAR-10.

    Attributes:
        baseline: `uat++`: the same without pre-training, with the losses UAT-OT and UAT-FT; none: ACL's routine.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, sections 2.2.1
    and 3.1.2.
    """

    command = "semi-supervised"

    encoder: EncoderConfig
    baseline: Literal["uat++"] | None = None
    data: FewLabelsDataConfig = FewLabelsDataConfig()
    augmentation: CropFlipConfig = CropFlipConfig()
    teacher: TeacherConfig = TeacherConfig()
    distillation: DistillationConfig = DistillationConfig()
    attack: FinetuneAttackConfig = FinetuneAttackConfig()
    optimizer: StudentOptimizerConfig = StudentOptimizerConfig()
    training: StudentRunConfig = StudentRunConfig()
    validation: ValidationConfig = ValidationConfig()

    @model_validator(mode="after")
    def _the_baseline_is_not_pre_trained(self) -> "SemiSupervisedConfig":
        if self.baseline and not self.encoder.is_random:
            raise ValueError(
                f"The baseline {self.baseline} does without pre-training; name random weights as MODEL, for example "
                f"random:resnet18. Received: {self.encoder.source!r}"
            )
        return self
