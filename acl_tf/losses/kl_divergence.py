"""Kullback–Leibler divergence between predictions."""

import tensorflow as tf


def kl_divergence(logits: tf.Tensor, other_logits: tf.Tensor, temperature: float = 1.0) -> tf.Tensor:
    """Returns KL(p ‖ q) between the distributions p of `logits` and q of `other_logits`.

    Args:
        logits: Logits of p, of shape `(batch, classes)`, floating point.
        other_logits: Logits of q, of the same shape.
        temperature: Divisor of all logits.

    Returns:
        One divergence per example, of shape `(batch,)`. Gradients pass both arguments.
    """
    log_p = tf.nn.log_softmax(logits / temperature)
    log_q = tf.nn.log_softmax(other_logits / temperature)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)
