"""A2S: one view attacked, the other clean, each on its own branch."""

import tensorflow as tf

from acl_tf.models.branch import Branch
from acl_tf.pretrain.contrastive import ContrastiveObjective
from acl_tf.pretrain.passes import Pass, Projections, Term, Views


class A2S(ContrastiveObjective):
    """Adversarial-to-standard contrast: the attacked view on the adversarial branch, the clean one on the standard.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Fig. 1 (c).
    """

    terms_logged = ("adversarial_to_standard",)

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        target = self.frozen(Branch.STANDARD)(views[1])  # the clean view stays where it is: projected once
        network = self.frozen(Branch.ADVERSARIAL)
        return *self.run_attack(views[:1], lambda images: self.contrast((network(images), target)), seed), views[1]

    def passes(self, views: Views, perturbed: Views) -> tuple[Pass, ...]:
        attacked, clean = perturbed
        return Pass((attacked,), Branch.ADVERSARIAL), Pass((clean,), Branch.STANDARD)

    def terms(self, *projections: Projections) -> dict[str, Term]:
        return {"adversarial_to_standard": self.term((*projections[0], *projections[1]))}
