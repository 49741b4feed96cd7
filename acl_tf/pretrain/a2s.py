"""A2S: one view attacked, the other clean, each on its own branch."""

import tensorflow as tf

from acl_tf.losses.nt_xent import nt_xent
from acl_tf.models.branch import Branch
from acl_tf.pretrain.base import ContrastiveObjective, Views


class A2S(ContrastiveObjective):
    """Adversarial-to-standard contrast: the attacked view on the adversarial branch, the clean one on the standard.

    Arguments as of `ContrastiveObjective`.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Fig. 1 (c).
    """

    streams = ("adversarial_to_standard",)

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        view_i, view_j = views
        target = self.project(view_j, Branch.STANDARD)  # the clean view stays where it is: projected once
        (attacked,) = self.run_attack(
            [view_i],
            lambda images: nt_xent(self.project(images, Branch.ADVERSARIAL), target, self.temperature),
            seed,
        )
        return attacked, view_j

    def stream_losses(self, views: Views, perturbed: Views) -> dict[str, tf.Tensor]:
        attacked, clean = perturbed
        adversarial = self.project(attacked, Branch.ADVERSARIAL, training=True)
        standard = self.project(clean, Branch.STANDARD, training=True)
        return {"adversarial_to_standard": nt_xent(adversarial, standard, self.temperature)}
