"""UAT++: unsupervised adversarial training, the baseline of ACL's semi-supervised experiments."""

from typing import Any

import tensorflow as tf

from acl_tf.finetune.base import Losses
from acl_tf.finetune.pseudo_labelled import PseudoLabelled, SemiSupervisedTargets, labels_or_pseudo_labels
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.kl_divergence import kl_divergence


class UATPlusPlus(PseudoLabelled):
    """Minimises CE(p(x'), ŷ) + online_weight · KL(stop_gradient(p(x)) ‖ p(x')).

    The first term is UAT-FT: ŷ is the label, or the most likely class of a fixed teacher. The second is UAT-OT, the
    online target. Both take the image that PGD finds for the first.

    Args:
        *args: As of `FineTuner`.
        online_weight: Weight of UAT-OT; not negative.
        **kwargs: As of `FineTuner`.

    Raises:
        ValueError: If `online_weight` is negative.

    `train_step` takes uint8 images and `SemiSupervisedTargets`.

    Reference: Alayrac et al., "Are Labels Required for Improving Adversarial Robustness?", NeurIPS 2019, section 3.
    """

    parts = ("fixed_target", "online_target")

    def __init__(self, *args: Any, online_weight: float = 5.0, **kwargs: Any) -> None:
        if online_weight < 0:
            raise ValueError(f"`online_weight` must not be negative. Received: online_weight={online_weight}")
        super().__init__(*args, **kwargs)
        self.online_weight = online_weight

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: SemiSupervisedTargets) -> Losses:
        clean = tf.stop_gradient(self(images, training=True))
        adversarial = self(perturbed, training=True)
        fixed = cross_entropy(adversarial, labels_or_pseudo_labels(SemiSupervisedTargets(*targets)))
        online = kl_divergence(clean, adversarial)
        return {"loss": fixed + self.online_weight * online, "fixed_target": fixed, "online_target": online}
