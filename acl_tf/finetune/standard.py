"""Standard training: cross-entropy on clean images."""

import tensorflow as tf

from acl_tf.finetune.base import FineTuner, Losses
from acl_tf.losses.cross_entropy import cross_entropy


class Standard(FineTuner):
    """Minimises the cross-entropy of clean images; with a frozen encoder, the standard linear probe (SLF)."""

    def perturb(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return images

    def losses(self, images: tf.Tensor, perturbed: tf.Tensor, targets: tf.Tensor) -> Losses:
        return {"loss": cross_entropy(self(images, training=True), targets)}
