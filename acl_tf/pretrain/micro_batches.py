"""Large batches in the memory of small ones, with the negatives of the large one.

NT-Xent looks at all projections of a batch, so its gradient is no sum over parts of the batch. But it reaches a part
only through the projections: each part passes the network once to give these, and a second time, with the gradient of
the loss with respect to them, to give its share of the gradient of the weights.

Reference: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import tensorflow as tf

from acl_tf.models.frozen_branch import Network
from acl_tf.pretrain.passes import Pass, Projections
from acl_tf.replicas import replicas

Parts = TypeVar("Parts")


def in_micro_batches(network: Network, count: int) -> Network:
    """Returns a network that passes a batch in parts, and again for its gradient.

    Args:
        network: Function from images to projections, a row each; it has no weights that are trained.
        count: Number of parts, a divisor of the batch size.

    Raises:
        ValueError: If several replicas share the batch.
    """
    if count == 1:
        return network
    _check_replicas(count)

    @tf.custom_gradient
    def in_parts(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        parts = _split(images, count)
        projections = _each(network, parts, images.dtype)

        def backward(upstream: tf.Tensor) -> tf.Tensor:
            both = parts, _split(upstream, count)
            return _join(_each(lambda part: _pull_back(network, *part), both, images.dtype))

        return _join(projections), backward

    return in_parts


def accumulated_gradients(
    optimizer: keras.optimizers.Optimizer,
    variables: list[keras.Variable],
    project: Callable[[Pass], Projections],
    passes: Sequence[Pass],
    loss_of: Callable[[list[Projections]], tuple[tf.Tensor, Parts]],
    count: int,
) -> tuple[list[tf.Tensor | None], tf.Tensor, Parts]:
    """Returns the gradients of a loss of projections, as `gradients_of` does, a part of the batch at a time.

    Args:
        optimizer: The optimiser, which scales the loss.
        variables: Variables that may move.
        project: Function that passes views through the networks.
        passes: Passes of the whole batch.
        loss_of: Function from the projections of each pass to the loss, of shape `()`, and whatever else the caller
            wants to know.
        count: Number of parts, a divisor of the batch size.

    Returns:
        The gradient of the scaled loss for each variable, the loss, and the rest.

    Raises:
        ValueError: If several replicas share the batch.
    """
    _check_replicas(count)
    parts = [tuple(_split(view, count) for view in given.views) for given in passes]

    def project_part(views: Sequence[tuple[tf.Tensor, ...]]) -> list[Projections]:
        return [project(given._replace(views=tuple(part))) for given, part in zip(passes, views, strict=True)]

    def without_statistics(views: Sequence[tuple[tf.Tensor, ...]]) -> list[Projections]:
        with keras.StatelessScope():  # the second time moves them
            return project_part(views)

    signature = tf.nest.map_structure(lambda view: view.dtype, parts)  # a projection for each view
    projections = tf.nest.map_structure(_join, _each(without_statistics, parts, signature))
    with tf.GradientTape() as tape:
        tape.watch(projections)
        loss, rest = loss_of(projections)
        scaled_loss = optimizer.scale_loss(loss)
    upstream = tf.nest.map_structure(lambda value: _split(value, count), tape.gradient(scaled_loss, projections))

    def of_part(number: int | tf.Tensor) -> list[tf.Tensor | None]:
        views, above = tf.nest.map_structure(lambda value: value[number], (parts, upstream))
        with tf.GradientTape() as part_tape:
            found = project_part(views)
        return part_tape.gradient(tf.nest.flatten(found), variables, output_gradients=tf.nest.flatten(above))

    return _summed(of_part, count), loss, rest


def _summed(of_part: Callable[[int | tf.Tensor], list[tf.Tensor | None]], count: int) -> list[tf.Tensor | None]:
    """Sums the gradients of all parts; what has none in the first, for the loss does not depend on it, has none."""
    first = of_part(0)
    connected = [index for index, gradient in enumerate(first) if gradient is not None]

    def add(number: tf.Tensor, sums: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        gradients = of_part(number)
        return number + 1, [total + gradients[index] for total, index in zip(sums, connected, strict=True)]

    sums = [first[index] for index in connected]
    _, sums = tf.while_loop(lambda number, _: number < count, add, (tf.constant(1), sums), parallel_iterations=1)
    total = list(first)
    for index, value in zip(connected, sums, strict=True):
        total[index] = value
    return total


def _check_replicas(count: int) -> None:
    if replicas() > 1:  # the parts are a loop of the graph, in which replicas cannot ask each other
        raise ValueError(f"`micro_batches` must be 1 on several replicas. Received: micro_batches={count}")


def _pull_back(network: Network, images: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of images from that of their projections."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        projections = network(images)
    return tape.gradient(projections, images, output_gradients=upstream)


def _each(function: Callable, parts: Any, signature: Any) -> Any:
    """Applies a function to each part, one after the other, so that one at a time is in memory."""
    return tf.map_fn(function, parts, fn_output_signature=signature, parallel_iterations=1)


def _split(values: tf.Tensor, count: int) -> tf.Tensor:
    """Reshapes from `(batch, …)` to `(count, batch / count, …)`."""
    return tf.reshape(values, [count, values.shape[0] // count, *values.shape[1:]])


def _join(values: tf.Tensor) -> tf.Tensor:
    """Reshapes from `(count, batch / count, …)` to `(batch, …)`."""
    return tf.reshape(values, [-1, *values.shape[2:]])
