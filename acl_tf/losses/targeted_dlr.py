"""The targeted difference of logits ratio."""

import tensorflow as tf


def targeted_dlr(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns the target's logit minus the label's, divided by a spread of the largest logits.

    The spread is the largest logit minus the mean of the third and the fourth largest: it does not change when all
    logits are scaled or shifted alike, and it cannot vanish when the target ties with the label for the first place.

    Args:
        logits: Logits of shape `(batch, classes)`, floating point.
        labels: Labels, integers of shape `(batch,)`.
        targets: Classes that the examples are driven to, integers of shape `(batch,)`.

    Returns:
        One loss per example, of shape `(batch,)`.

    Raises:
        ValueError: If there are fewer than four classes.

    Reference: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks", ICML 2020, Eq. 7.
    """
    if logits.shape[-1] < 4:
        raise ValueError(f"Targeted DLR needs at least four classes. Received: logits.shape={logits.shape}")
    largest = tf.math.top_k(logits, 4).values
    difference = tf.gather(logits, targets, batch_dims=1) - tf.gather(logits, labels, batch_dims=1)
    # The published code adds the same, for equal logits.
    return difference / (largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2 + 1e-12)
