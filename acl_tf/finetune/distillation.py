"""Adversarial distillation: the last step of ACL's semi-supervised routine."""

from typing import Any

import tensorflow as tf

from acl_tf.finetune.base import Losses
from acl_tf.finetune.pseudo_labelled import UNLABELLED, PseudoLabelled, SemiSupervisedTargets
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.distillation import distillation
from acl_tf.losses.kl_divergence import kl_divergence


class Distillation(PseudoLabelled):
    """Learns labels and a teacher's soft pseudo-labels on attacked images, and to keep predictions where they are.

    Per example, on the logits of the attacked image:

    - labelled: (1 − alpha) · CE(p(x'), y) + alpha · T² · CE(p(x'), teacher),
    - unlabelled: T² · CE(p(x'), teacher),
    - both: beta · KL(p(x) ‖ p(x')).

    PGD climbs the cross-entropy of the label, or of the teacher's most likely class.

    Args:
        *args: As of `FineTuner`.
        alpha: Weight of the distillation of labelled images, from 0 to 1, as in the released code; Eq. 3 of the paper
            has it on the cross-entropy.
        temperature: T; positive.
        beta: Weight of the last term, 1/lambda in the paper.
        **kwargs: As of `FineTuner`.

    Raises:
        ValueError: If `alpha` is not in [0, 1], or `beta` negative.

    `train_step` takes uint8 images and `SemiSupervisedTargets`.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Eq. 3.
    """

    parts = ("cross_entropy", "distillation", "kl_divergence")

    def __init__(
        self, *args: Any, alpha: float = 0.5, temperature: float = 1.0, beta: float = 6.0, **kwargs: Any
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f"`alpha` must be in [0, 1]. Received: alpha={alpha}")
        if beta < 0:
            raise ValueError(f"`beta` must not be negative. Received: beta={beta}")
        super().__init__(*args, **kwargs)
        self.alpha = alpha
        self.temperature = temperature
        self.beta = beta

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: SemiSupervisedTargets) -> Losses:
        labels, soft_logits = targets
        clean = self(images, training=True)
        adversarial = self(perturbed, training=True)
        labelled = tf.cast(labels != UNLABELLED, clean.dtype)
        entropy = labelled * cross_entropy(adversarial, tf.maximum(labels, 0))
        distilled = (1 - (1 - self.alpha) * labelled) * distillation(adversarial, soft_logits, self.temperature)
        divergence = kl_divergence(clean, adversarial)
        total = (1 - self.alpha) * entropy + distilled + self.beta * divergence
        return {"loss": total, "cross_entropy": entropy, "distillation": distilled, "kl_divergence": divergence}
