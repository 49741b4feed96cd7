"""Standard training: cross-entropy on clean images."""

import tensorflow as tf

from acl_tf.finetune.base import FineTuner, Losses
from acl_tf.losses.cross_entropy import cross_entropy


class Standard(FineTuner):
    """Minimises the cross-entropy of clean images; with a frozen encoder, this is the standard linear probe (SLF)."""

    attacks = False

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: tf.Tensor) -> Losses:
        return {"loss": cross_entropy(self(images, training=True), targets)}
