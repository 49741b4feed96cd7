"""The Gabor attack."""

import math
from collections.abc import Sequence

import tensorflow as tf

from acl_tf.attacks.balls import PIXELS
from acl_tf.attacks.unforeseen.latent import Latent, LatentAttack, convolved
from acl_tf.randomness import fold_in

SIDE = 23  # of the kernels, in pixels
ORIENTATIONS = 10  # largest number of orientations of a kernel
WIDTHS = (0.1, 0.4)  # range of the standard deviation of a kernel's envelope, in sides
FREQUENCIES = (3.0, SIDE / 4)  # range of the frequency of a kernel's waves, per side
RARITY = 14  # one pixel in 14 is the centre of a kernel
FLAT = 1e-3  # contrasts below this share of the largest are not raised to it


class GaborAttack(LatentAttack):
    """Adds Gabor noise: stripes around random places, whose weights the attack chooses.

    The variables are the weights, in [-1, 1], of shape `(batch, height, width, 1)`; they are 0 except at about one
    place in 14. These places, and the kernel of each image, are drawn once.

    Args:
        epsilon: Brightness of the noise, in pixels of [0, 1]; the noise ranges from 0 to this.
        steps: Number of steps.
        step_size: Length of a step along the sign of the gradient, in the unit of the variables.

    Raises:
        ValueError: If a number is negative or not finite.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016; code:
    ddkang/advex-uar, advex_uar/attacks/gabor_attack.py. Lagae et al., "Procedural Noise using Sparse Gabor
    Convolution", SIGGRAPH 2009, section 3.
    """

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Latent:
        places = (*shape[:3], 1)
        chosen = tf.random.stateless_uniform(places, fold_in(seed, 0), dtype=dtype) < 1 / RARITY
        mask = tf.cast(chosen, dtype)
        weights = tf.random.stateless_uniform(places, fold_in(seed, 1), -1.0, 1.0, dtype)
        return Latent(mask * weights, (mask, gabor_kernels(shape[0], fold_in(seed, 2), dtype)))

    def render(self, images: tf.Tensor, latent: Latent) -> tf.Tensor:
        _, kernels = latent.still
        noise = full_contrast(convolved(latent.moving, kernels))
        return tf.clip_by_value(images + self.epsilon * noise, 0.0, 1.0)

    def project(self, latent: Latent) -> tf.Tensor:
        return latent.still[0] * tf.clip_by_value(latent.moving, -1.0, 1.0)


def gabor_kernels(batch: tf.Tensor | int, seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Draws a kernel for each image: waves in one or several directions, with a Gaussian envelope.

    Args:
        batch: Number of images.
        seed: An int32 tensor of shape `(2,)`.
        dtype: Type of the result.

    Returns:
        Tensor of shape `(batch, 23, 23, 1)`.
    """

    def uniform(number: int, low: float, high: float) -> tf.Tensor:
        return tf.random.stateless_uniform((batch, 1, 1, 1), fold_in(seed, number), low, high, dtype)

    count = 1 + tf.floor(uniform(0, 0.0, ORIENTATIONS))
    width, frequency, first = uniform(1, *WIDTHS), uniform(2, *FREQUENCIES), uniform(3, 0.0, math.pi)
    orders = tf.range(ORIENTATIONS, dtype=dtype)
    angles = first + math.pi * orders / count
    places = tf.linspace(tf.constant(-0.5, dtype), tf.constant(0.5, dtype), SIDE)
    down, right = places[:, tf.newaxis, tf.newaxis], places[:, tf.newaxis]
    waves = tf.cos(2 * math.pi * frequency * (right * tf.cos(angles) + down * tf.sin(angles)))
    envelope = tf.exp(-(right**2 + down**2) / (2 * width**2))
    summed = tf.reduce_sum(tf.where(orders < count, waves, tf.zeros_like(waves)), axis=-1, keepdims=True)
    return envelope * summed


def full_contrast(noise: tf.Tensor) -> tf.Tensor:
    """Raises the contrast of noise to its maximum at every pixel, and scales each image of noise to [0, 1].

    The factors and offsets count as constants in the gradient, as published.
    """
    mean = tf.reduce_mean(noise, PIXELS, keepdims=True)
    contrast = tf.abs(noise - mean)
    share = tf.math.divide_no_nan(contrast, tf.reduce_max(contrast, PIXELS, keepdims=True))
    raised = tf.stop_gradient(mean) + (noise - tf.stop_gradient(mean)) * tf.stop_gradient((1 + FLAT) / (share + FLAT))
    lowest = tf.stop_gradient(tf.reduce_min(raised, PIXELS, keepdims=True))
    highest = tf.stop_gradient(tf.reduce_max(raised, PIXELS, keepdims=True))
    return tf.math.divide_no_nan(raised - lowest, highest - lowest)
