"""DS, the dual stream: a clean pair and an attacked pair of the same views. ACL's best variant."""

from typing import Any

import tensorflow as tf

from acl_tf.models.branch import Branch
from acl_tf.pretrain.base import ContrastiveObjective
from acl_tf.pretrain.passes import Pass, Projections, Views
from acl_tf.training.gradient_step import mean_over_global_batch


class DS(ContrastiveObjective):
    """S2S on the standard branch plus `alpha` times A2A on the adversarial branch, from the same two views.

    The loss is (L_standard + alpha · L_adversarial) / (1 + alpha), the released code's at alpha = 1; the paper
    leaves the division out.

    Args:
        *args: As of `ContrastiveObjective`.
        alpha: Weight of the adversarial stream; not negative.
        **kwargs: As of `ContrastiveObjective`.

    Raises:
        ValueError: If `alpha` is negative.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Algorithm 1.
    """

    streams = ("standard", "adversarial")

    def __init__(self, *args: Any, alpha: float = 1.0, **kwargs: Any) -> None:
        if alpha < 0:
            raise ValueError(f"`alpha` must not be negative. Received: alpha={alpha}")
        super().__init__(*args, **kwargs)
        self.alpha = alpha

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        return self.attack_both(views, seed)

    def passes(self, views: Views, perturbed: Views) -> tuple[Pass, ...]:
        return Pass(views, Branch.STANDARD), Pass(perturbed, Branch.ADVERSARIAL)

    def stream_losses(self, *projections: Projections) -> dict[str, tf.Tensor]:
        standard, adversarial = projections
        return {"standard": self.contrast(*standard), "adversarial": self.contrast(*adversarial)}

    def total_loss(self, losses: dict[str, tf.Tensor]) -> tf.Tensor:
        standard = mean_over_global_batch(losses["standard"])
        adversarial = mean_over_global_batch(losses["adversarial"])
        return (standard + self.alpha * adversarial) / (1 + self.alpha)
