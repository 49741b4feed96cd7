"""UAT++: unsupervised adversarial training, the baseline of ACL's semi-supervised experiments."""

import tensorflow as tf

from acl_tf.config import NonNegative, Section
from acl_tf.finetune.base import Losses
from acl_tf.finetune.pseudo_labelled import PseudoLabelled, SemiSupervisedTargets, labels_or_pseudo_labels
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.kl_divergence import kl_divergence


class UATPlusPlus(PseudoLabelled):
    """Minimises CE(p(x'), ŷ) + online_weight · KL(stop_gradient(p(x)) ‖ p(x')).

    The first term is UAT-FT: ŷ is the label, or the most likely class of a fixed teacher. The second is UAT-OT, the
    online target. Both use the image that the attack finds for the first term.

    `train_step` takes uint8 images and `SemiSupervisedTargets`.

    Reference: Alayrac et al., "Are Labels Required for Improving Adversarial Robustness?", NeurIPS 2019, section 3.
    """

    class Settings(Section):
        """Settings of UAT++.

        Attributes:
            online_weight: Weight of UAT-OT.
        """

        online_weight: NonNegative = 5.0

    parts = ("fixed_target", "online_target")

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: SemiSupervisedTargets) -> Losses:
        clean = tf.stop_gradient(self(images, training=True))
        adversarial = self(perturbed, training=True)
        fixed = cross_entropy(adversarial, labels_or_pseudo_labels(SemiSupervisedTargets(*targets)))
        online = kl_divergence(clean, adversarial)
        loss = fixed + self.settings.online_weight * online
        return {"loss": loss, "fixed_target": fixed, "online_target": online}
