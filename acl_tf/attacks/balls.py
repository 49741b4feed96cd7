"""The balls that attacks stay in: l∞, l2 and l1, each cut with the range [0, 1] of pixels."""

from collections.abc import Sequence

import tensorflow as tf

from acl_tf.attacks.hyperplane import nearest_l1, nearest_l2, nearest_linf
from acl_tf.attacks.l1_ball import project_l1, project_l1_in_box
from acl_tf.randomness import fold_in

PIXELS = (1, 2, 3)  # the axes of one image


class Ball:
    """The geometry of a norm, which all attacks of that norm share.

    Images have shape `(batch, height, width, channels)`, and each of them has its own ball.
    """

    def norm(self, values: tf.Tensor, axes: Sequence[int] = PIXELS) -> tf.Tensor:
        """Returns the norms over `axes`, which are kept: by default one per image, of shape `(batch, 1, 1, 1)`."""
        raise NotImplementedError

    def dual_norm(self, values: tf.Tensor, axes: Sequence[int] = PIXELS) -> tf.Tensor:
        """Returns the dual norms: how much a step of norm 1 can change a linear function with these coefficients."""
        raise NotImplementedError

    def draw(
        self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, epsilon: float, dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        """Draws perturbations uniformly from the ball of radius `epsilon`; `seed` is int32 of shape `(2,)`."""
        raise NotImplementedError

    def direction(self, shape: tf.TensorShape | Sequence[int], seed: tf.Tensor) -> tf.Tensor:
        """Draws a random direction; its length is arbitrary."""
        return tf.random.stateless_normal(shape, seed)

    def scaled(self, directions: tf.Tensor, length: float) -> tf.Tensor:
        """Returns directions scaled so that their norm is `length`."""
        return length * directions / self.norm(directions)

    def ascent(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns a step of norm 1 that raises a loss with this gradient; 0 where the gradient is 0."""
        raise NotImplementedError

    def step(self, images: tf.Tensor, gradient: tf.Tensor, size: float) -> tf.Tensor:
        """Returns images after one step of norm `size` that raises the loss."""
        return images + size * self.ascent(images, gradient)

    def project(self, images: tf.Tensor, center: tf.Tensor, epsilon: float) -> tf.Tensor:
        """Projects images onto the ball around `center`, and then onto [0, 1].

        As published, one projection follows the other: the result need not be the nearest point of their intersection.
        """
        raise NotImplementedError

    def to_plane(self, images: tf.Tensor, normals: tf.Tensor, excess: tf.Tensor) -> tf.Tensor:
        """Returns the shortest moves that take images onto hyperplanes and keep them in [0, 1].

        Args:
            images: Images in [0, 1].
            normals: Normals of the hyperplanes, of the shape of the images.
            excess: Distance by which each image is beyond its hyperplane, times the length of the normal; shape
                `(batch,)`.
        """
        flat = [tf.shape(images)[0], -1]
        moves = self._nearest(tf.reshape(images, flat), tf.reshape(normals, flat), excess)
        return tf.reshape(moves, tf.shape(images))

    def _nearest(self, points: tf.Tensor, normals: tf.Tensor, excess: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


class Linf(Ball):
    """The l∞ ball: every pixel changes by at most `epsilon`."""

    _nearest = staticmethod(nearest_linf)

    def norm(self, values: tf.Tensor, axes: Sequence[int] = PIXELS) -> tf.Tensor:
        return tf.reduce_max(tf.abs(values), axes, keepdims=True)

    def dual_norm(self, values: tf.Tensor, axes: Sequence[int] = PIXELS) -> tf.Tensor:
        return tf.reduce_sum(tf.abs(values), axes, keepdims=True)

    def draw(
        self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, epsilon: float, dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, seed, -epsilon, epsilon, dtype)

    def direction(self, shape: tf.TensorShape | Sequence[int], seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, seed, -1.0, 1.0)

    def ascent(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return tf.sign(gradient)

    def project(self, images: tf.Tensor, center: tf.Tensor, epsilon: float) -> tf.Tensor:
        inside = tf.clip_by_value(images, center - epsilon, center + epsilon)
        return tf.clip_by_value(inside, 0.0, 1.0)


class L2(Ball):
    """The l2 ball."""

    _nearest = staticmethod(nearest_l2)

    def norm(self, values: tf.Tensor, axes: Sequence[int] = PIXELS) -> tf.Tensor:
        return l2_norm(values, axes)

    def dual_norm(self, values: tf.Tensor, axes: Sequence[int] = PIXELS) -> tf.Tensor:
        return l2_norm(values, axes)

    def draw(
        self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, epsilon: float, dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        direction = unit_l2(tf.random.stateless_normal(shape, fold_in(seed, 0), dtype=dtype))
        return epsilon * _radius(shape, fold_in(seed, 1), dtype) * direction

    def scaled(self, directions: tf.Tensor, length: float) -> tf.Tensor:
        return length * unit_l2(directions)

    def ascent(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return unit_l2(gradient)

    def project(self, images: tf.Tensor, center: tf.Tensor, epsilon: float) -> tf.Tensor:
        delta = images - center
        shrink = tf.minimum(1.0, tf.math.divide_no_nan(tf.cast(epsilon, delta.dtype), l2_norm(delta)))
        return displaced(center, shrink * delta)


class L1(Ball):
    """The l1 ball, whose steps are sparse (SLIDE).

    A step moves the few pixels with the largest gradients, all by the same amount. It skips pixels that are already at
    the bound of [0, 1] towards which their gradient points.

    Args:
        sparsity: Share of the pixels that a step moves, in (0, 1]; each channel counts as a pixel. At least one moves.

    Raises:
        ValueError: If `sparsity` is outside (0, 1].

    Reference: Tramèr and Boneh, "Adversarial Training and Robustness for Multiple Perturbations", NeurIPS 2019,
    Algorithm 1.
    """

    _nearest = staticmethod(nearest_l1)

    def __init__(self, sparsity: float = 0.01) -> None:
        if not 0 < sparsity <= 1:
            raise ValueError(f"`sparsity` must be in (0, 1]. Received: sparsity={sparsity}")
        self.sparsity = sparsity

    def norm(self, values: tf.Tensor, axes: Sequence[int] = PIXELS) -> tf.Tensor:
        return tf.reduce_sum(tf.abs(values), axes, keepdims=True)

    def dual_norm(self, values: tf.Tensor, axes: Sequence[int] = PIXELS) -> tf.Tensor:
        return tf.reduce_max(tf.abs(values), axes, keepdims=True)

    def draw(
        self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, epsilon: float, dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        # Exponentially distributed magnitudes, divided by their sum, are uniform on the simplex.
        magnitudes = -tf.math.log(
            tf.random.stateless_uniform(shape, fold_in(seed, 0), 2.0**-24, 1.0, dtype)
        )  # never the logarithm of 0
        signs = tf.sign(tf.random.stateless_uniform(shape, fold_in(seed, 2), -1.0, 1.0, dtype))
        direction = signs * magnitudes / tf.reduce_sum(magnitudes, PIXELS, keepdims=True)
        return epsilon * _radius(shape, fold_in(seed, 1), dtype) * direction

    def ascent(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        movable = tf.where(gradient > 0, images < 1, images > 0)
        sizes = tf.where(movable, tf.abs(gradient), tf.zeros_like(gradient))
        flat = tf.reshape(sizes, [tf.shape(sizes)[0], -1])
        count = tf.maximum(1, tf.cast(tf.round(self.sparsity * tf.cast(tf.shape(flat)[1], tf.float32)), tf.int32))
        smallest = tf.reshape(tf.math.top_k(flat, count).values[:, -1], [-1, 1, 1, 1])
        chosen = tf.cast((sizes >= smallest) & (sizes > 0), images.dtype)
        share = tf.math.divide_no_nan(chosen, tf.reduce_sum(chosen, PIXELS, keepdims=True))
        return share * tf.sign(gradient)

    def project(self, images: tf.Tensor, center: tf.Tensor, epsilon: float) -> tf.Tensor:
        return displaced(center, project_l1(images - center, epsilon))

    def displace(self, center: tf.Tensor, delta: tf.Tensor, epsilon: tf.Tensor | float) -> tf.Tensor:
        """Returns the images nearest to `center + delta` that lie both in the ball and in [0, 1].

        Projecting onto the two sets one after the other would never reach the most distant points of the intersection.

        Args:
            center: Images in [0, 1].
            delta: Perturbations of any size.
            epsilon: Radius of the ball: one number, or one for each image.
        """
        return displaced(center, project_l1_in_box(center, delta, epsilon))


def displaced(center: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
    """Returns `center + delta`, clipped to [0, 1]; rounding moves no pixel further from the centre than `delta`."""
    images = center + delta
    # Undoes rounding away from the centre, which would add up over thousands of pixels and leave the ball.
    images = tf.where(tf.abs(images - center) > tf.abs(delta), tf.math.nextafter(images, center), images)
    return tf.clip_by_value(images, 0.0, 1.0)  # moves pixels towards the centre, which is in [0, 1]


def l2_norm(values: tf.Tensor, axes: Sequence[int] = PIXELS) -> tf.Tensor:
    """Returns the l2 norms over `axes`, which are kept: by default one per image, of shape `(batch, 1, 1, 1)`."""
    return tf.sqrt(tf.reduce_sum(tf.square(values), axes, keepdims=True))


def unit_l2(values: tf.Tensor, axes: Sequence[int] = PIXELS) -> tf.Tensor:
    """Scales values to l2 norm 1 over `axes`, by default each image; zeros stay zero."""
    # The gradients of a confident model are so small that their squares would underflow to 0.
    values = tf.math.divide_no_nan(values, tf.reduce_max(tf.abs(values), axes, keepdims=True))
    return tf.math.divide_no_nan(values, l2_norm(values, axes))


def _radius(shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Draws the norms of points that are uniform in a ball of radius 1, of shape `(batch, 1, 1, 1)`."""
    coordinates = tf.cast(tf.reduce_prod(shape[1:]), dtype)
    return tf.random.stateless_uniform([shape[0], 1, 1, 1], seed, 0.0, 1.0, dtype) ** (1 / coordinates)
