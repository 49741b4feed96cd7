"""A2A: both views attacked."""

import tensorflow as tf

from acl_tf.models.branch import Branch
from acl_tf.pretrain.base import ContrastiveObjective
from acl_tf.pretrain.passes import Pass, Projections, Views


class A2A(ContrastiveObjective):
    """Adversarial-to-adversarial contrast on the adversarial branch.

    Arguments as of `ContrastiveObjective`.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Fig. 1 (b).
    """

    streams = ("adversarial",)

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        return self.attack_both(views, seed)

    def passes(self, views: Views, perturbed: Views) -> tuple[Pass, ...]:
        return (Pass(perturbed, Branch.ADVERSARIAL),)

    def stream_losses(self, *projections: Projections) -> dict[str, tf.Tensor]:
        return {"adversarial": self.contrast(*projections[0])}
