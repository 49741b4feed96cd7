"""Adversarial training: cross-entropy on attacked images."""

import tensorflow as tf

from acl_tf.finetune.base import FineTuner, Losses
from acl_tf.losses.cross_entropy import cross_entropy


class AdversarialTraining(FineTuner):
    """Minimises the cross-entropy of attacked images; with a frozen encoder, this is ALF.

    Reference: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, Eq. 2.1.
    """

    def perturb(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        network = self.frozen()
        return self.run_attack(images, lambda attacked: cross_entropy(network(attacked), targets), seed)

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: tf.Tensor) -> Losses:
        return {"loss": cross_entropy(self(perturbed, training=True), targets)}
