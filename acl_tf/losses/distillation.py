"""Distillation: the cross-entropy with a teacher's soft predictions."""

import tensorflow as tf


def distillation(logits: tf.Tensor, teacher_logits: tf.Tensor, temperature: float = 1.0) -> tf.Tensor:
    """Returns T² times the cross-entropy between a teacher and a student, both softened by the temperature T.

    It differs from T² · KL(teacher ‖ student) by the teacher's entropy, which has no gradient.

    Args:
        logits: Logits of the student, of shape `(batch, classes)`, floating point.
        teacher_logits: Logits of the teacher, of the same shape.
        temperature: Temperature T; positive.

    Returns:
        One loss per example, of shape `(batch,)`.

    Raises:
        ValueError: If the temperature is not positive.

    Reference: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """
    if temperature <= 0:
        raise ValueError(f"`temperature` must be positive. Received: temperature={temperature}")
    soft_targets = tf.nn.softmax(teacher_logits / temperature)
    return temperature**2 * tf.nn.softmax_cross_entropy_with_logits(soft_targets, logits / temperature)
