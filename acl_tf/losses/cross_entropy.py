"""Cross-entropy between logits and labels."""

import tensorflow as tf


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Negative log-probability of the labels.

    Args:
        logits: Shape `(batch, classes)`, floating point.
        labels: Integers, of shape `(batch,)`.

    Returns:
        One loss per example, of shape `(batch,)`.
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
