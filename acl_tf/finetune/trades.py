"""TRADES: a trade-off between accuracy on clean images and predictions that stay the same under attack."""

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf

from acl_tf.config import NonNegative, Section, merge
from acl_tf.finetune.base import FineTuner, Losses
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.kl_divergence import kl_divergence


class TRADES(FineTuner):
    """Minimises CE(p(x), y) + beta · KL(p(x) ‖ p(x')), where PGD finds x' by raising the KL divergence.

    Gradients flow through both sides of the KL divergence. Clean and attacked images pass the network in two separate
    batches, each with its own batch statistics.

    Reference: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019, Eq. 5.
    """

    class Settings(Section):
        """Settings of TRADES.

        Attributes:
            beta: Weight of the KL divergence, called 1/lambda in the paper.
        """

        beta: NonNegative = 6.0

    # Not at the image itself, where the KL divergence has no gradient.
    defaults: ClassVar[Mapping[str, Any]] = merge(FineTuner.defaults, {"attack": {"start": "normal"}})
    parts = ("cross_entropy", "kl_divergence")

    def perturb(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        network = self.frozen()
        clean = network(images)
        return self.run_attack(images, lambda attacked: kl_divergence(clean, network(attacked)), seed)

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: tf.Tensor) -> Losses:
        clean = self(images, training=True)
        divergence = kl_divergence(clean, self(perturbed, training=True))
        entropy = cross_entropy(clean, targets)
        loss = entropy + self.settings.beta * divergence
        return {"loss": loss, "cross_entropy": entropy, "kl_divergence": divergence}
