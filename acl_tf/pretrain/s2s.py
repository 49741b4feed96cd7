"""S2S: both views clean. This is SimCLR."""

import tensorflow as tf

from acl_tf.models.branch import Branch
from acl_tf.pretrain.base import ContrastiveObjective
from acl_tf.pretrain.passes import Pass, Projections, Views


class S2S(ContrastiveObjective):
    """Standard-to-standard contrast on the standard branch; nothing is attacked.

    Arguments as of `ContrastiveObjective`.

    Reference: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
    """

    default_branch = Branch.STANDARD
    streams = ("standard",)

    def perturb(self, views: Views, seed: tf.Tensor) -> Views:
        return views

    def passes(self, views: Views, perturbed: Views) -> tuple[Pass, ...]:
        return (Pass(views, Branch.STANDARD),)

    def stream_losses(self, *projections: Projections) -> dict[str, tf.Tensor]:
        return {"standard": self.contrast(*projections[0])}
