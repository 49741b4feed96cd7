"""Projected gradient descent in the l∞, l2 and l1 balls."""

from collections.abc import Sequence

import tensorflow as tf

from acl_tf.attacks.base import GradientAttack
from acl_tf.randomness import fold_in

PIXELS = (1, 2, 3)  # the axes of one image


class LinfPGD(GradientAttack):
    """Steps of `step_size` along the sign of the gradient, inside the l∞ ball of radius `epsilon`.

    The loss is the caller's: NT-Xent in contrastive pre-training, cross-entropy in evaluation.

    Example:

    ```python
    attack = LinfPGD(epsilon=8 / 255, step_size=2 / 255, steps=5)
    adversarial = attack(images, loss, attack.start(images.shape, seed)).images
    ```

    Reference: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, section 2.1.
    """

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, seed, -self.epsilon, self.epsilon, dtype)

    def step(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return images + self.step_size * tf.sign(gradient)

    def project(self, images: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
        inside = tf.clip_by_value(images, center - self.epsilon, center + self.epsilon)
        return tf.clip_by_value(inside, 0.0, 1.0)


class L2PGD(GradientAttack):
    """Steps of length `step_size` along the gradient, inside the l2 ball of radius `epsilon`.

    Reference: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, section 2.1.
    """

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        direction = unit_l2(tf.random.stateless_normal(shape, fold_in(seed, 0), dtype=dtype))
        return self.epsilon * ball_radius(shape, fold_in(seed, 1), dtype) * direction

    def step(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return images + self.step_size * unit_l2(gradient)

    def project(self, images: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
        delta = images - center
        shrink = tf.minimum(1.0, tf.math.divide_no_nan(tf.cast(self.epsilon, delta.dtype), l2_norm(delta)))
        return displaced(center, shrink * delta)


class L1PGD(GradientAttack):
    """Sparse steps of length `step_size`, inside the l1 ball of radius `epsilon`: SLIDE.

    A step moves the few pixels with the largest gradients, all by the same amount. Pixels that are already at the bound
    of [0, 1] that their gradient points to are passed over.

    Args:
        epsilon: Radius of the ball, in pixels of [0, 1].
        step_size: Length of a step, in the same unit and norm.
        steps: Number of steps.
        momentum: Share of the previous direction in the next one.
        sparsity: Share of the pixels, counted by channel, that a step moves: in (0, 1]. At least one moves.

    Raises:
        ValueError: If a number is negative or not finite, or if `sparsity` is outside (0, 1].

    Reference: Tramèr and Boneh, "Adversarial Training and Robustness for Multiple Perturbations", NeurIPS 2019,
    Algorithm 1.
    """

    def __init__(
        self, epsilon: float, step_size: float, steps: int, momentum: float = 0.0, sparsity: float = 0.01
    ) -> None:
        super().__init__(epsilon, step_size, steps, momentum)
        if not 0 < sparsity <= 1:
            raise ValueError(f"`sparsity` must be in (0, 1]. Received: sparsity={sparsity}")
        self.sparsity = sparsity

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        # Magnitudes that are exponential, divided by their sum, are uniform on the simplex.
        magnitudes = -tf.math.log(
            tf.random.stateless_uniform(shape, fold_in(seed, 0), 2.0**-24, 1.0, dtype)
        )  # never of 0
        signs = tf.sign(tf.random.stateless_uniform(shape, fold_in(seed, 2), -1.0, 1.0, dtype))
        direction = signs * magnitudes / tf.reduce_sum(magnitudes, PIXELS, keepdims=True)
        return self.epsilon * ball_radius(shape, fold_in(seed, 1), dtype) * direction

    def step(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        movable = tf.where(gradient > 0, images < 1, images > 0)
        sizes = tf.where(movable, tf.abs(gradient), tf.zeros_like(gradient))
        flat = tf.reshape(sizes, [tf.shape(sizes)[0], -1])
        count = tf.maximum(1, tf.cast(tf.round(self.sparsity * tf.cast(tf.shape(flat)[1], tf.float32)), tf.int32))
        smallest = tf.reshape(tf.math.top_k(flat, count).values[:, -1], [-1, 1, 1, 1])
        chosen = tf.cast((sizes >= smallest) & (sizes > 0), images.dtype)
        share = tf.math.divide_no_nan(chosen, tf.reduce_sum(chosen, PIXELS, keepdims=True))
        return images + self.step_size * share * tf.sign(gradient)

    def project(self, images: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
        return displaced(center, project_l1(images - center, self.epsilon))


def displaced(center: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
    """Returns `center + delta` in [0, 1], with no pixel further from the centre than `delta` says."""
    images = center + delta
    # Where the sum is rounded outwards: over thousands of pixels that adds up, and the ball would be left.
    images = tf.where(tf.abs(images - center) > tf.abs(delta), tf.math.nextafter(images, center), images)
    return tf.clip_by_value(images, 0.0, 1.0)  # brings pixels nearer to a centre that is in [0, 1]


def l2_norm(values: tf.Tensor, axes: tuple[int, ...] = PIXELS) -> tf.Tensor:
    """Returns the norm over some axes, which are kept: by default of each image, of shape `(batch, 1, 1, 1)`."""
    return tf.sqrt(tf.reduce_sum(tf.square(values), axes, keepdims=True))


def unit_l2(values: tf.Tensor, axes: tuple[int, ...] = PIXELS) -> tf.Tensor:
    """Scales to norm 1 over some axes, by default each image; zeros stay."""
    # Gradients of a confident model are so small that their squares would be 0.
    values = tf.math.divide_no_nan(values, tf.reduce_max(tf.abs(values), axes, keepdims=True))
    return tf.math.divide_no_nan(values, l2_norm(values, axes))


def ball_radius(shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Draws how far from the centre, in radii, points that are uniform in a ball lie: shape `(batch, 1, 1, 1)`."""
    coordinates = tf.cast(tf.reduce_prod(shape[1:]), dtype)
    return tf.random.stateless_uniform([shape[0], 1, 1, 1], seed, 0.0, 1.0, dtype) ** (1 / coordinates)


def project_l1(delta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Euclidean projection of each perturbation onto the l1 ball.

    Args:
        delta: Shape `(batch, height, width, channels)`.
        epsilon: Radius of the ball.

    Returns:
        The nearest points of the ball, of the same shape.

    Reference: Duchi et al., "Efficient Projections onto the l1-Ball for Learning in High Dimensions", ICML 2008,
    Figure 1.
    """
    # In float64: the sums of thousands of pixels are compared with single ones.
    sizes = tf.cast(tf.reshape(tf.abs(delta), [tf.shape(delta)[0], -1]), tf.float64)
    largest_first = tf.sort(sizes, direction="DESCENDING")
    ranks = tf.range(1, tf.shape(sizes)[1] + 1, dtype=tf.float64)
    # What each size must be lowered by if only those up to it remain; it holds for the last that does remain.
    thresholds = (tf.cumsum(largest_first, axis=1) - epsilon) / ranks
    remaining = tf.reduce_sum(tf.cast(largest_first > thresholds, tf.int32), axis=1)
    threshold = tf.gather(thresholds, tf.maximum(remaining - 1, 0), batch_dims=1)[:, tf.newaxis]
    projected = tf.maximum(sizes - tf.maximum(threshold, 0), 0)
    return tf.sign(delta) * tf.cast(tf.reshape(projected, tf.shape(delta)), delta.dtype)
