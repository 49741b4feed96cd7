"""The configuration of a semi-supervised run."""

import functools
from typing import Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from acl_tf.attacks.config import ATTACK, suited_defaults
from acl_tf.config import CommandConfig, Count, NonNegative, Section, Sections, Settings, Share, as_tuple, unknown_name
from acl_tf.finetune import BASELINES
from acl_tf.finetune.config import (
    CropFlipConfig,
    EncoderConfig,
    LabelledDataConfig,
    Labels,
    StepwiseSGDConfig,
    ValidationConfig,
    random_backbone,
)
from acl_tf.training.config import RunConfig


class FewLabelsDataConfig(LabelledDataConfig):
    """The images to train on, and how many of their labels to use; all other images count as unlabelled."""

    labels: Labels = 0.1


class TeacherOptimizerConfig(StepwiseSGDConfig):
    """The optimiser of the pseudo-label teacher."""

    decay_at: Annotated[tuple[Share, ...], as_tuple] = (0.4, 0.6)


class TeacherConfig(Section):
    """Standard training on the labelled images; its last epoch makes the pseudo-labels.

    Attributes:
        branch: Branch of the encoder's batch normalisation that is trained.
        epochs: Number of passes over the labelled images.
        batch_size: Number of images in a batch.
        optimizer: SGD whose learning rate falls in steps.
    """

    branch: Literal["standard", "adversarial"] = "standard"
    epochs: Count = 100
    batch_size: Annotated[int, Field(ge=2)] = 128
    optimizer: TeacherOptimizerConfig = TeacherOptimizerConfig()


class BatchConfig(Section):
    """The batches of the last step.

    Attributes:
        labelled_per_batch: Number of labelled images in a batch; None: 2 if less than 5 % have labels, else 25.
        unlabelled_per_batch: Number of unlabelled images in a batch; None: 198 if less than 5 % have labels, else 225.
    """

    labelled_per_batch: Count | None = None
    unlabelled_per_batch: Count | None = None

    def batch_sizes(self, labelled: int, unlabelled: int) -> tuple[int, int]:
        """Returns the numbers of labelled and of unlabelled images in a batch, no more than exist.

        Args:
            labelled: Number of labelled images.
            unlabelled: Number of unlabelled images.
        """
        few = labelled < 0.05 * (labelled + unlabelled)
        sizes = self.labelled_per_batch or (2 if few else 25), self.unlabelled_per_batch or (198 if few else 225)
        return min(sizes[0], labelled), min(sizes[1], unlabelled)


class StudentOptimizerConfig(StepwiseSGDConfig):
    """The optimiser of the last step."""

    weight_decay: NonNegative = 5e-4
    decay_at: Annotated[tuple[Share, ...], as_tuple] = (1 / 3, 2 / 3)


class StudentRunConfig(RunConfig):
    """The section `training` of the last step, where an epoch is one pass over the unlabelled images."""

    epochs: Count = 15


class SemiSupervisedConfig(CommandConfig):
    """The configuration of a semi-supervised run. The defaults are the paper's for CIFAR-10.

    Attributes:
        baseline: `uat++`: the same steps without pre-training, with the losses UAT-OT and UAT-FT; None: ACL's routine.
        distillation: Settings of the student's loss (of the baseline, if there is one) and of the batches.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, sections 2.2.1
    and 3.1.2.
    """

    command = "semi-supervised"

    encoder: EncoderConfig
    baseline: str | None = None
    data: FewLabelsDataConfig = FewLabelsDataConfig()
    augmentation: CropFlipConfig = CropFlipConfig()
    teacher: TeacherConfig = TeacherConfig()
    distillation: Any
    attack: Any
    optimizer: StudentOptimizerConfig = StudentOptimizerConfig()
    training: StudentRunConfig = StudentRunConfig()
    validation: ValidationConfig = ValidationConfig()

    @classmethod
    def sections(cls, settings: Settings) -> Sections:
        student = student_class(settings.get("baseline"))
        return {"distillation": distillation_section(student), "attack": ATTACK.section_in(settings)}

    @classmethod
    def published(cls, settings: Settings) -> Settings:
        return suited_defaults(student_class(settings.get("baseline")), settings)

    @classmethod
    def chosen(cls, settings: Settings) -> list[Any]:
        return [student_class(settings["baseline"]), ATTACK.class_in(settings), *random_backbone(settings)]

    @model_validator(mode="after")
    def _the_baseline_is_not_pre_trained(self) -> "SemiSupervisedConfig":
        if self.baseline and not self.encoder.is_random:
            raise ValueError(
                f"The baseline {self.baseline} does without pre-training; name random weights as MODEL, for example "
                f"random:resnet18. Received: {self.encoder.source!r}"
            )
        return self


def student_class(baseline: Any) -> Any:
    """Returns the class of the student.

    Args:
        baseline: Name of the baseline; None: ACL's distillation.

    Raises:
        UsageError: If there is no such baseline.
    """
    if baseline is None:
        from acl_tf.finetune.distillation import Distillation

        return Distillation
    if baseline not in BASELINES:
        raise unknown_name("baseline", baseline, BASELINES)
    return BASELINES[baseline]


@functools.cache
def distillation_section(student: Any) -> type[Section]:
    """Returns the class of the section `distillation`: the student's settings, then those of its batches."""
    return create_model("DistillationConfig", __base__=(BatchConfig, student.Settings))
