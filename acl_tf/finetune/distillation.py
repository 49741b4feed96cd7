"""Adversarial distillation: the last step of ACL's semi-supervised routine."""

import tensorflow as tf

from acl_tf.config import NonNegative, Positive, Probability, Section
from acl_tf.finetune.base import Losses
from acl_tf.finetune.pseudo_labelled import UNLABELLED, PseudoLabelled, SemiSupervisedTargets
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.distillation import distillation
from acl_tf.losses.kl_divergence import kl_divergence


class Distillation(PseudoLabelled):
    """Learns labels and a teacher's soft pseudo-labels on attacked images, and to keep predictions under attack.

    Per example, on the logits of the attacked image:

    - labelled: (1 − alpha) · CE(p(x'), y) + alpha · T² · CE(p(x'), teacher),
    - unlabelled: T² · CE(p(x'), teacher),
    - both: beta · KL(p(x) ‖ p(x')).

    The attack raises the cross-entropy of the label or, for unlabelled images, of the teacher's most likely class.

    `train_step` takes uint8 images and `SemiSupervisedTargets`.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Eq. 3.
    """

    class Settings(Section):
        """Settings of the distillation.

        Attributes:
            alpha: Weight of the distillation of labelled images, as in the released code; in Eq. 3 of the paper it is
                the weight of the cross-entropy.
            temperature: Temperature T of the distillation.
            beta: Weight of the last term, 1/lambda in the paper.
        """

        alpha: Probability = 0.5
        temperature: Positive = 1.0
        beta: NonNegative = 6.0

    parts = ("cross_entropy", "distillation", "kl_divergence")

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: SemiSupervisedTargets) -> Losses:
        labels, soft_logits = targets
        alpha, temperature, beta = self.settings.alpha, self.settings.temperature, self.settings.beta
        clean = self(images, training=True)
        adversarial = self(perturbed, training=True)
        labelled = tf.cast(labels != UNLABELLED, clean.dtype)
        entropy = labelled * cross_entropy(adversarial, tf.maximum(labels, 0))
        distilled = (1 - (1 - alpha) * labelled) * distillation(adversarial, soft_logits, temperature)
        divergence = kl_divergence(clean, adversarial)
        total = (1 - alpha) * entropy + distilled + beta * divergence
        return {"loss": total, "cross_entropy": entropy, "distillation": distilled, "kl_divergence": divergence}
