"""A2A: both views attacked."""

import tensorflow as tf

from acl_tf.models.branch import Branch
from acl_tf.pretrain.contrastive import ContrastiveObjective
from acl_tf.pretrain.passes import Pass, Projections, Term, Views


class A2A(ContrastiveObjective):
    """Adversarial-to-adversarial contrast on the adversarial branch.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Fig. 1 (b).
    """

    terms_logged = ("adversarial",)

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        return self.attack_jointly(views, seed)

    def passes(self, views: Views, perturbed: Views) -> tuple[Pass, ...]:
        return (Pass(perturbed, Branch.ADVERSARIAL),)

    def terms(self, *projections: Projections) -> dict[str, Term]:
        return {"adversarial": self.term(projections[0])}
