"""TRADES: accuracy on clean images, and predictions that an attack does not move."""

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf

from acl_tf.config import NonNegative, Section, merge
from acl_tf.finetune.base import FineTuner, Losses
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.kl_divergence import kl_divergence


class TRADES(FineTuner):
    """Minimises CE(p(x), y) + beta · KL(p(x) ‖ p(x')), where x' is what PGD finds for the KL divergence.

    Gradients pass both sides of the KL divergence. Clean and attacked images go through batch normalisation one after
    the other, each with statistics of its own.

    Reference: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019, Eq. 5.
    """

    class Settings(Section):
        """Settings of TRADES.

        Attributes:
            beta: Weight of the KL divergence, which the paper calls 1/lambda.
        """

        beta: NonNegative = 6.0

    # At the image itself the KL divergence has no gradient.
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
