"""Cross-entropy between logits and labels."""

import tensorflow as tf


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the negative log-probability of the labels.

    Args:
        logits: Logits of shape `(batch, classes)`, floating point.
        labels: Labels, integers of shape `(batch,)`.

    Returns:
        One loss per example, of shape `(batch,)`.
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
