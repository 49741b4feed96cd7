"""DLR, the difference of logits ratio."""

import tensorflow as tf

from acl_tf.losses.margin import margin


def dlr(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the margin, divided by the difference between the largest and the third largest logit.

    It does not change when all logits are scaled or shifted alike.

    Args:
        logits: Logits of shape `(batch, classes)`, floating point.
        labels: Labels, integers of shape `(batch,)`.

    Returns:
        One loss per example, of shape `(batch,)`: at least -1, and positive where the example is misclassified.

    Raises:
        ValueError: If there are fewer than three classes.

    Reference: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks", ICML 2020, Eq. 6.
    """
    if logits.shape[-1] < 3:
        raise ValueError(f"DLR needs at least three classes. Received: logits.shape={logits.shape}")
    largest = tf.math.top_k(logits, 3).values
    # The published code adds the same, for three equal logits.
    return margin(logits, labels) / (largest[:, 0] - largest[:, 2] + 1e-12)
