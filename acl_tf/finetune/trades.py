"""TRADES: accuracy on clean images, and predictions that an attack does not move."""

from typing import Any

import tensorflow as tf

from acl_tf.finetune.base import FineTuner, Losses
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.kl_divergence import kl_divergence


class TRADES(FineTuner):
    """Minimises CE(p(x), y) + beta · KL(p(x) ‖ p(x')), where x' is what PGD finds for the KL divergence.

    Gradients pass both sides of the KL divergence. Clean and attacked images go through batch normalisation one after
    the other, each with statistics of its own.

    Args:
        *args: As of `FineTuner`.
        beta: Weight of the KL divergence; not negative. The paper calls it 1/lambda.
        **kwargs: As of `FineTuner`.

    Raises:
        ValueError: If `beta` is negative.

    Reference: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019, Eq. 5.
    """

    attack_start = "normal"  # at the image itself the KL divergence has no gradient
    parts = ("cross_entropy", "kl_divergence")

    def __init__(self, *args: Any, beta: float = 6.0, **kwargs: Any) -> None:
        if beta < 0:
            raise ValueError(f"`beta` must not be negative. Received: beta={beta}")
        super().__init__(*args, **kwargs)
        self.beta = beta

    def perturb(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        network = self.frozen()
        clean = network(images)
        return self.run_attack(images, lambda attacked: kl_divergence(clean, network(attacked)), seed)

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: tf.Tensor) -> Losses:
        clean = self(images, training=True)
        divergence = kl_divergence(clean, self(perturbed, training=True))
        entropy = cross_entropy(clean, targets)
        return {"loss": entropy + self.beta * divergence, "cross_entropy": entropy, "kl_divergence": divergence}
