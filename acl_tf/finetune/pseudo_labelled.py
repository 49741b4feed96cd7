"""The base of methods that learn from labels and, for unlabelled images, from a teacher's pseudo-labels."""

from typing import NamedTuple

import tensorflow as tf

from acl_tf.finetune.base import FineTuner
from acl_tf.losses.cross_entropy import cross_entropy

UNLABELLED = -1


class SemiSupervisedTargets(NamedTuple):
    """The targets of a batch of images.

    Attributes:
        labels: Labels, integers of shape `(batch,)`; `UNLABELLED` for unlabelled images.
        soft_logits: Logits of the teacher, float32 of shape `(batch, classes)`.
    """

    labels: tf.Tensor
    soft_logits: tf.Tensor


class PseudoLabelled(FineTuner):
    """Attacks the cross-entropy of the label or, for unlabelled images, of the teacher's most likely class."""

    def perturb(self, images: tf.Tensor, targets: SemiSupervisedTargets, seed: tf.Tensor) -> tf.Tensor:
        labels = labels_or_pseudo_labels(SemiSupervisedTargets(*targets))
        network = self.frozen()
        return self.run_attack(images, lambda attacked: cross_entropy(network(attacked), labels), seed)


def labels_or_pseudo_labels(targets: SemiSupervisedTargets) -> tf.Tensor:
    """Returns the label of each image or, for unlabelled images, the teacher's most likely class."""
    pseudo_labels = tf.argmax(targets.soft_logits, axis=-1, output_type=targets.labels.dtype)
    return tf.where(targets.labels == UNLABELLED, pseudo_labels, targets.labels)
