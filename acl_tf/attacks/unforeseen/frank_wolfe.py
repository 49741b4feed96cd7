"""The Frank–Wolfe attack in the l1 ball."""

from collections.abc import Sequence
from typing import Annotated

import tensorflow as tf
from pydantic import Field

from acl_tf.attacks.balls import L1, displaced
from acl_tf.attacks.unforeseen.latent import Latent, LatentAttack
from acl_tf.config import NonNegative, Section


class L1FrankWolfe(LatentAttack):
    """Moves towards the corner of the l1 ball, cut with [0, 1], that is furthest along the gradient; never projects.

    The perturbation after t steps is the mean of the t corners, so that the first step forgets the start.

    Args:
        epsilon: Radius of the ball around an image, in pixels of [0, 1].
        steps: Number of steps.

    Raises:
        ValueError: If a number is negative or not finite.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016; code:
    ddkang/advex-uar, advex_uar/attacks/fw_attack.py.
    """

    class Settings(Section):
        """The arguments of the constructor."""

        epsilon: NonNegative = 12.0
        steps: Annotated[int, Field(ge=0)] = 30

    norm = "l1"

    def __init__(self, epsilon: float = 12.0, steps: int = 30) -> None:
        super().__init__(epsilon, steps)
        self.ball = L1()

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Latent:
        return Latent(self.ball.draw(shape, seed, self.epsilon, dtype))

    def render(self, images: tf.Tensor, latent: Latent) -> tf.Tensor:
        # Gradients pass as if nothing were clipped, so that they are not 0 at the bounds of [0, 1].
        return tf.grad_pass_through(lambda delta: displaced(images, delta))(latent.moving)

    def step(self, moving: tf.Tensor, gradient: tf.Tensor, number: tf.Tensor | int, images: tf.Tensor) -> tf.Tensor:
        room = tf.where(gradient > 0, 1 - images, images)
        return towards(moving, furthest_corner(gradient, room, self.epsilon), number)

    def project(self, latent: Latent) -> tf.Tensor:
        return latent.moving  # a mean of points in a convex set stays inside


def furthest_corner(gradient: tf.Tensor, room: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Returns the point of the l1 ball around 0, cut with a box, that is furthest along a gradient.

    Coordinates move as far as they can, those with the largest gradients first, until the radius is used up.

    Args:
        gradient: Gradient, of shape `(batch, …)`.
        room: Distance that each coordinate can move in the direction of its gradient, of the same shape.
        epsilon: Radius of the ball.

    Returns:
        Tensor of the same shape.
    """
    shape = tf.shape(gradient)
    largest_first = tf.argsort(tf.reshape(tf.abs(gradient), [shape[0], -1]), direction="DESCENDING")
    # In float64: the sums of thousands of coordinates are compared with single ones.
    flat = tf.cast(tf.reshape(room, [shape[0], -1]), tf.float64)
    rooms = tf.gather(flat, largest_first, batch_dims=1)
    moved = tf.clip_by_value(epsilon - tf.cumsum(rooms, axis=1, exclusive=True), 0, rooms)
    sizes = tf.gather(moved, tf.argsort(largest_first), batch_dims=1)
    return tf.sign(gradient) * tf.cast(tf.reshape(sizes, shape), gradient.dtype)


def towards(point: tf.Tensor, corner: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """Returns the mean of the corners of steps 0 to `number`: the latest is `corner`, the mean of others `point`."""
    return point + (corner - point) / tf.cast(number + 1, point.dtype)
