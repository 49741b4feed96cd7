"""Attacks on the coefficients of JPEG compression."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from acl_tf.attacks.balls import l2_norm, unit_l2
from acl_tf.attacks.unforeseen.frank_wolfe import furthest_corner, towards
from acl_tf.attacks.unforeseen.latent import Latent, LatentAttack
from acl_tf.randomness import fold_in

BLOCK = 8
COEFFICIENTS = (1,)  # the axis of the variables of one image
LARGEST = 2.0  # largest change of a coefficient in l2 and l1, in halves of quantisation steps
# Quantisation at quality 50, by vertical and horizontal frequency: ITU-T T.81, tables K.1 and K.2.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMINANCE = np.full((BLOCK, BLOCK), 99)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
# From RGB to luminance and the two chrominances, and back: ITU-T T.871, section 7.
TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
TO_RGB = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])


class JPEGAttack(LatentAttack):
    """Changes the coefficients that JPEG would store, and decodes them.

    The variables are the changes of all coefficients, in halves of JPEG's quantisation steps at quality 50: ±1 is the
    largest change by rounding. Nothing is rounded here, so that without changes only the chrominance, which JPEG keeps
    at half the resolution, differs from the original image.

    Args:
        epsilon: Radius of the ball of the variables.
        steps: Number of steps.
        step_size: Length of a step, in the same unit and norm.

    Raises:
        ValueError: If a number is negative or not finite.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016; code:
    ddkang/advex-uar, advex_uar/attacks/jpeg_attack.py. Shin and Song, "JPEG-resistant Adversarial Images",
    NIPS 2017 workshop on machine learning and computer security (the differentiable decoder).
    """

    def render(self, images: tf.Tensor, latent: Latent) -> tf.Tensor:
        check_size(images.shape)
        height, width = images.shape[1:3]
        planes = tf.unstack(tf.einsum("bhwc,yc->bhwy", images, tf.constant(TO_YCBCR, images.dtype)), axis=-1)
        coefficients = tf.split(latent.moving, coefficient_counts(height, width), axis=1)
        tables = (LUMINANCE, CHROMINANCE, CHROMINANCE)
        shares = (1, 2, 2)  # number of pixels per value of the plane, in each direction
        changed = []
        for plane, values, table, share in zip(planes, coefficients, tables, shares, strict=True):
            blocks = tf.reshape(values, [-1, height // (BLOCK * share), width // (BLOCK * share), BLOCK, BLOCK])
            # Without rounding, encoding and decoding are linear: the changes can be decoded by themselves.
            added = inverse_cosine_transform(blocks * tf.constant(table / 2 / 255, images.dtype))
            changed.append(repeated(averaged(plane, share) + added, share))
        decoded = tf.einsum("bhwy,cy->bhwc", tf.stack(changed, axis=-1), tf.constant(TO_RGB, images.dtype))
        return tf.clip_by_value(decoded, 0.0, 1.0)


class LinfJPEG(JPEGAttack):
    """Steps along the sign of the gradient, inside the l∞ ball of the coefficients; see `JPEGAttack`."""

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Latent:
        check_size(shape)
        counts = (shape[0], sum(coefficient_counts(shape[1], shape[2])))
        return Latent(tf.random.stateless_uniform(counts, seed, -self.epsilon, self.epsilon, dtype))


class L2JPEG(JPEGAttack):
    """Steps along the gradient, inside the l2 ball of the coefficients, none of which changes by more than `LARGEST`.

    Arguments and errors are those of `JPEGAttack`.
    """

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Latent:
        check_size(shape)
        counts = (shape[0], sum(coefficient_counts(shape[1], shape[2])))
        direction = unit_l2(tf.random.stateless_normal(counts, fold_in(seed, 0), dtype=dtype), COEFFICIENTS)
        # The volume within a radius grows with its power: with this radius, points are uniform in the ball.
        radius = tf.random.stateless_uniform((counts[0], 1), fold_in(seed, 1), 0.0, 1.0, dtype) ** (1 / counts[1])
        return Latent(tf.clip_by_value(self.epsilon * radius * direction, -LARGEST, LARGEST))

    def step(self, moving: tf.Tensor, gradient: tf.Tensor, number: tf.Tensor | int, images: tf.Tensor) -> tf.Tensor:
        return moving + self.step_size * unit_l2(gradient, COEFFICIENTS)

    def project(self, latent: Latent) -> tf.Tensor:
        length = l2_norm(latent.moving, COEFFICIENTS)
        inside = latent.moving * tf.minimum(1.0, tf.math.divide_no_nan(tf.cast(self.epsilon, length.dtype), length))
        return tf.clip_by_value(inside, -LARGEST, LARGEST)


class L1JPEG(JPEGAttack):
    """Frank–Wolfe steps inside the l1 ball of the coefficients, none of which changes by more than `LARGEST`.

    Args:
        epsilon: Radius of the ball of the variables; see `JPEGAttack`.
        steps: Number of steps.

    Raises:
        ValueError: If a number is negative or not finite.
    """

    def __init__(self, epsilon: float, steps: int) -> None:
        super().__init__(epsilon, steps)

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Latent:
        check_size(shape)
        counts = (shape[0], sum(coefficient_counts(shape[1], shape[2])))
        # Exponentially distributed magnitudes, divided by the sum of themselves and one more, are uniform in the ball.
        draws = -tf.math.log(
            tf.random.stateless_uniform((counts[0], counts[1] + 1), fold_in(seed, 0), 2.0**-24, 1.0, dtype)
        )
        signs = tf.sign(tf.random.stateless_uniform(counts, fold_in(seed, 1), -1.0, 1.0, dtype))
        start = self.epsilon * signs * draws[:, 1:] / tf.reduce_sum(draws, axis=1, keepdims=True)
        return Latent(tf.clip_by_value(start, -LARGEST, LARGEST))

    def step(self, moving: tf.Tensor, gradient: tf.Tensor, number: tf.Tensor | int, images: tf.Tensor) -> tf.Tensor:
        room = tf.fill(tf.shape(gradient), tf.cast(LARGEST, gradient.dtype))
        return towards(moving, furthest_corner(gradient, room, self.epsilon), number)

    def project(self, latent: Latent) -> tf.Tensor:
        return latent.moving  # a mean of points in a convex set stays inside


def check_size(shape: Sequence[int]) -> None:
    """Raises `ValueError` if JPEG would have to pad images of this shape."""
    height, width = shape[1], shape[2]
    if height % (2 * BLOCK) or width % (2 * BLOCK):
        raise ValueError(
            f"JPEG needs images whose height and width are multiples of {2 * BLOCK}. Received: {height}x{width}"
        )


def coefficient_counts(height: int, width: int) -> tuple[int, int, int]:
    """Returns the numbers of coefficients of luminance and the two chrominances."""
    return height * width, height * width // 4, height * width // 4


def inverse_cosine_transform(blocks: tf.Tensor) -> tf.Tensor:
    """Turns blocks of coefficients into a plane of pixels.

    Args:
        blocks: Coefficients, of shape `(batch, rows, columns, 8, 8)`; the last axes are vertical and horizontal
            frequency.

    Returns:
        Tensor of shape `(batch, 8 rows, 8 columns)`.

    Reference: ITU-T T.81, section A.3.3.
    """
    frequency, place = np.meshgrid(np.arange(BLOCK), np.arange(BLOCK), indexing="ij")
    waves = np.cos((2 * place + 1) * frequency * np.pi / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    waves[0] /= np.sqrt(2)
    basis = tf.constant(waves, blocks.dtype)
    pixels = tf.einsum("ux,brcuv,vy->brxcy", basis, blocks, basis)
    return tf.reshape(pixels, [-1, BLOCK * blocks.shape[1], BLOCK * blocks.shape[2]])


def averaged(plane: tf.Tensor, share: int) -> tf.Tensor:
    """Returns the means over squares with sides of `share` pixels; `plane` has shape `(batch, height, width)`."""
    height, width = plane.shape[1:3]
    squares = tf.reshape(plane, [-1, height // share, share, width // share, share])
    return tf.reduce_mean(squares, axis=(2, 4))


def repeated(plane: tf.Tensor, share: int) -> tf.Tensor:
    """Returns a plane in which every value is repeated over a square with sides of `share` pixels."""
    return tf.repeat(tf.repeat(plane, share, axis=1), share, axis=2)
