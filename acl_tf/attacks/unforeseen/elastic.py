"""The elastic attack, which moves pixels along a smooth flow."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from acl_tf.attacks.unforeseen.latent import Latent, LatentAttack

# Standard deviation of the smoothing, as a share of the shorter side: 3 of 224 pixels.
SMOOTHING = 3 / 224


class ElasticAttack(LatentAttack):
    """Reads every pixel from another place of the image, given by a smoothed flow.

    The variables are the flow before smoothing, of shape `(batch, height, width, 2)`: for each pixel, how far below it
    and how far to its right the image is read. Beyond its borders an image is black.

    Args:
        epsilon: Largest flow in each direction, in pixels of distance.
        steps: Number of steps.
        step_size: Length of a step along the sign of the gradient, in the same unit.

    Raises:
        ValueError: If a number is negative or not finite.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016; code:
    ddkang/advex-uar, advex_uar/attacks/elastic_attack.py. Xiao et al., "Spatially Transformed Adversarial
    Examples", ICLR 2018, section 3.2.
    """

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Latent:
        flow = tf.random.stateless_uniform((*shape[:3], 2), seed, -self.epsilon, self.epsilon, dtype)
        return Latent(flow)

    def render(self, images: tf.Tensor, latent: Latent) -> tf.Tensor:
        # Rounding may make the interpolation weights add up to a little more than 1.
        return tf.clip_by_value(warped(images, smoothed(latent.moving)), 0.0, 1.0)


def smoothed(flow: tf.Tensor) -> tf.Tensor:
    """Returns a flow convolved with a Gaussian kernel; the flow is mirrored at the borders."""
    deviation = SMOOTHING * min(flow.shape[1:3])
    reach = math.ceil(4 * deviation)  # 5 x 5 at 32 pixels, 25 x 25 at 224, as published
    profile = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    kernel = np.outer(profile, profile) / profile.sum() ** 2
    filters = np.repeat(kernel[:, :, np.newaxis, np.newaxis], 2, axis=2)
    padded = tf.pad(flow, [[0, 0], [reach, reach], [reach, reach], [0, 0]], "REFLECT")
    return tf.nn.depthwise_conv2d(padded, tf.constant(filters, flow.dtype), [1, 1, 1, 1], "VALID")


def warped(images: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    """Reads images at other places: by bilinear interpolation between pixels, and as 0 beyond the borders.

    Args:
        images: Images, of shape `(batch, height, width, channels)`.
        flow: Offsets down and right, in pixels, of shape `(batch, height, width, 2)`.

    Returns:
        Tensor of the shape of `images`.
    """
    height, width = images.shape[1:3]
    padded = tf.pad(images, [[0, 0], [1, 2], [1, 2], [0, 0]])
    # Coordinates in the padded image; clipping changes nothing, because all is zero further out.
    rows = tf.clip_by_value(tf.range(height, dtype=flow.dtype)[:, tf.newaxis] + flow[..., 0], -1, height) + 1
    columns = tf.clip_by_value(tf.range(width, dtype=flow.dtype) + flow[..., 1], -1, width) + 1
    top, left = tf.floor(rows), tf.floor(columns)
    down, right = (rows - top)[..., tf.newaxis], (columns - left)[..., tf.newaxis]

    def pixels(below: int, beside: int) -> tf.Tensor:
        places = tf.stack([tf.cast(top, tf.int32) + below, tf.cast(left, tf.int32) + beside], axis=-1)
        return tf.gather_nd(padded, places, batch_dims=1)

    upper = (1 - right) * pixels(0, 0) + right * pixels(0, 1)
    lower = (1 - right) * pixels(1, 0) + right * pixels(1, 1)
    return (1 - down) * upper + down * lower
