"""A2S: one view attacked, the other clean, each on its own branch."""

import tensorflow as tf

from acl_tf.models.branch import Branch
from acl_tf.pretrain.base import ContrastiveObjective
from acl_tf.pretrain.passes import Pass, Projections, Views


class A2S(ContrastiveObjective):
    """Adversarial-to-standard contrast: the attacked view on the adversarial branch, the clean one on the standard.

    Arguments as of `ContrastiveObjective`.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Fig. 1 (c).
    """

    streams = ("adversarial_to_standard",)

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        view_i, view_j = views
        target = self.frozen(Branch.STANDARD)(view_j)  # the clean view stays where it is: projected once
        network = self.frozen(Branch.ADVERSARIAL)
        (attacked,) = self.run_attack([view_i], lambda images: self.contrast(network(images), target), seed)
        return attacked, view_j

    def passes(self, views: Views, perturbed: Views) -> tuple[Pass, ...]:
        attacked, clean = perturbed
        return Pass((attacked,), Branch.ADVERSARIAL), Pass((clean,), Branch.STANDARD)

    def stream_losses(self, *projections: Projections) -> dict[str, tf.Tensor]:
        (adversarial,), (standard,) = projections
        return {"adversarial_to_standard": self.contrast(adversarial, standard)}
