"""The margin by which the logit of another class exceeds that of the label."""

import tensorflow as tf


def margin(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the largest logit of the other classes minus the logit of the label.

    Args:
        logits: Logits of shape `(batch, classes)`, floating point.
        labels: Labels, integers of shape `(batch,)`.

    Returns:
        One loss per example, of shape `(batch,)`: positive if and only if the example is misclassified.

    Raises:
        ValueError: If there are fewer than two classes.

    Reference: Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017, f6 in
    section V-A, without the cut at 0.
    """
    classes = logits.shape[-1]
    if classes < 2:
        raise ValueError(f"The margin needs at least two classes. Received: logits.shape={logits.shape}")
    is_label = tf.one_hot(labels, classes, on_value=True, off_value=False)
    others = tf.where(is_label, tf.constant(float("-inf"), logits.dtype), logits)
    return tf.reduce_max(others, axis=-1) - tf.gather(logits, labels, batch_dims=1)
