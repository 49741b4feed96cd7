"""One optimiser step, exact under `tf.distribute` and with loss scaling."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import keras
import tensorflow as tf

from acl_tf.replicas import global_sum, replicas

Parts = TypeVar("Parts")


def gradient_step(
    optimizer: keras.optimizers.Optimizer,
    variables: list[keras.Variable],
    loss_and_parts: Callable[[], tuple[tf.Tensor, Parts]],
) -> tuple[tf.Tensor, Parts, tf.Tensor]:
    """Takes one step down a loss.

    Args:
        optimizer: The optimiser, built on `variables`.
        variables: Variables that may move; one that the loss does not depend on, such as those of a branch that no
            image passes, stays as it is.
        loss_and_parts: Computes this replica's share of the loss, of shape `()`, and whatever else the caller wants
            to know. The shares of all replicas sum to the loss.

    Returns:
        The loss share, the rest, and the norm of the global gradient.
    """
    gradients, loss, parts = gradients_of(optimizer, variables, loss_and_parts)
    return loss, parts, apply_gradients(optimizer, gradients, variables, loss.dtype)


def gradients_of(
    optimizer: keras.optimizers.Optimizer,
    variables: list[keras.Variable],
    loss_and_parts: Callable[[], tuple[tf.Tensor, Parts]],
) -> tuple[list[tf.Tensor | None], tf.Tensor, Parts]:
    """Returns this replica's share of the gradients of a loss.

    Args:
        optimizer: Scales the loss.
        variables: Variables that the gradients are for.
        loss_and_parts: Function that `gradient_step` takes, too.

    Returns:
        The gradient of the scaled loss for each variable (None: the loss does not depend on it), the loss share, and
        the rest.
    """
    with tf.GradientTape() as tape:
        loss, parts = loss_and_parts()
        scaled_loss = optimizer.scale_loss(loss)
    return tape.gradient(scaled_loss, variables), loss, parts


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor | None],
    variables: Sequence[keras.Variable],
    dtype: tf.DType,
) -> tf.Tensor:
    """Sums gradients over the replicas, and moves the variables.

    Args:
        optimizer: The optimiser, built on `variables`.
        gradients: This replica's share of each, of the scaled loss; None: the variable stays as it is.
        variables: The variables that the gradients belong to.
        dtype: Type of the norm.

    Returns:
        The norm of the global gradient, without the optimizer's loss scale.
    """
    moving = [(gradient, variable) for gradient, variable in zip(gradients, variables) if gradient is not None]
    # Summed over the replicas here, because clipping and the check for overflow must see the global gradient;
    # Keras sums the shares again.
    # Of one type, because in float64 a classifier is still float32, and Keras packs all gradients into one tensor.
    widest = max((gradient.dtype for gradient, _ in moving), key=lambda dtype: dtype.size)
    summed = [tf.cast(global_sum(gradient), widest) for gradient, _ in moving]
    norm = tf.linalg.global_norm([tf.cast(gradient, dtype) for gradient in summed])
    norm /= optimizer.scale_loss(tf.ones((), dtype))
    optimizer.apply([gradient / replicas() for gradient in summed], [variable for _, variable in moving])
    return norm


def mean_over_global_batch(values: tf.Tensor) -> tf.Tensor:
    """Returns this replica's share of the mean over the global batch; the shares of all replicas sum to it."""
    return tf.reduce_mean(values) / replicas()
