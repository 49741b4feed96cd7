"""Losses that are high if an example is classified as a target."""

from collections.abc import Callable

import tensorflow as tf

# Maps logits of shape `(batch, classes)` and integers of shape `(batch,)` to one loss per example.
ClassificationLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def targeted(loss: ClassificationLoss) -> ClassificationLoss:
    """Returns a loss that is high if an example is classified as the target.

    Args:
        loss: Loss that is high if an example is not classified as the label; one of `CLASSIFICATION_LOSSES`.

    Returns:
        Function of logits and target labels: minus `loss`.

    Example:

    ```python
    attack(images, lambda x: targeted(cross_entropy)(model(x), targets), start)
    ```

    Reference: Kurakin et al., "Adversarial Machine Learning at Scale", ICLR 2017, section 2.
    """
    return lambda logits, targets: -loss(logits, targets)
