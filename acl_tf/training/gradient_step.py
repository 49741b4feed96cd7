"""One optimiser step, exact under `tf.distribute` and with loss scaling."""

from collections.abc import Callable
from typing import TypeVar

import keras
import tensorflow as tf

from acl_tf.training.distribution import global_sum, replicas

Parts = TypeVar("Parts")


def gradient_step(
    optimizer: keras.optimizers.Optimizer,
    variables: list[keras.Variable],
    loss_and_parts: Callable[[], tuple[tf.Tensor, Parts]],
) -> tuple[tf.Tensor, Parts, tf.Tensor]:
    """Takes one step down a loss.

    Args:
        optimizer: Built on `variables`.
        variables: What may move; one that the loss does not depend on, such as those of a branch that no image
            passes, stays as it is.
        loss_and_parts: Computes this replica's share of the loss, of shape `()`, and whatever else the caller wants
            to know. The shares of all replicas sum to the loss.

    Returns:
        The loss share, the rest, and the norm of the global gradient.
    """
    with tf.GradientTape() as tape:
        loss, parts = loss_and_parts()
        scaled_loss = optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled_loss, variables)
    moving = [(gradient, variable) for gradient, variable in zip(gradients, variables) if gradient is not None]
    # Summed over the replicas here, because clipping and the check for overflow must see the global gradient;
    # Keras sums the shares again.
    gradients = [global_sum(gradient) for gradient, _ in moving]
    # In float64 a classifier is still float32.
    norm = tf.linalg.global_norm([tf.cast(gradient, loss.dtype) for gradient in gradients])
    norm /= optimizer.scale_loss(tf.ones((), loss.dtype))
    optimizer.apply([gradient / replicas() for gradient in gradients], [variable for _, variable in moving])
    return loss, parts, norm


def mean_over_global_batch(values: tf.Tensor) -> tf.Tensor:
    """Returns this replica's share of the mean over the global batch; the shares of all replicas sum to it."""
    return tf.reduce_mean(values) / replicas()
