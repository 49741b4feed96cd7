"""The fog attack."""

from collections.abc import Sequence

import tensorflow as tf

from acl_tf.attacks.unforeseen.latent import Latent, LatentAttack

# Factor by which details of the fog are fainter than those twice as large.
DECAY = 2.0


class FogAttack(LatentAttack):
    """Puts fog in front of images: a map made by the diamond-square algorithm, whose random numbers the attack chooses.

    The variables are those numbers, in [0, 1], of shape `(batch, count)`, from coarse to fine.

    Args:
        epsilon: Brightness of the thickest fog, in pixels of [0, 1]. Each channel of the foggy image is divided by the
            largest value it could reach, so that fog reduces contrast; even with epsilon 0 the brightest pixel becomes
            white.
        steps: Number of steps.
        step_size: Length of a step along the sign of the gradient, in the unit of the variables.

    Raises:
        ValueError: If a number is negative or not finite.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016; code:
    ddkang/advex-uar, advex_uar/attacks/fog_attack.py. Fournier et al., "Computer Rendering of Stochastic Models",
    CACM 1982.
    """

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Latent:
        count = 4 ** levels(shape[1], shape[2]) - 1  # three numbers for each square of each level
        return Latent(tf.random.stateless_uniform((shape[0], count), seed, 0.0, 1.0, dtype))

    def render(self, images: tf.Tensor, latent: Latent) -> tf.Tensor:
        height, width = images.shape[1:3]
        fog = fog_map(latent.moving, levels(height, width))
        top, left = (fog.shape[1] - height) // 2, (fog.shape[2] - width) // 2
        fog = self.epsilon * fog[:, top : top + height, left : left + width, tf.newaxis]
        brightest = tf.reduce_max(images, axis=(1, 2), keepdims=True) + self.epsilon
        return tf.clip_by_value(tf.math.divide_no_nan(images + fog, brightest), 0.0, 1.0)

    def project(self, latent: Latent) -> tf.Tensor:
        return tf.clip_by_value(latent.moving, 0.0, 1.0)


def levels(height: int, width: int) -> int:
    """Returns the number of refinements of the map for images of this size; its side is 2 to that power."""
    return max(height, width).bit_length()


def fog_map(numbers: tf.Tensor, levels: int) -> tf.Tensor:
    """Makes a map by the diamond-square algorithm; the map continues periodically beyond its borders.

    Args:
        numbers: Numbers in [0, 1], of shape `(batch, 4**levels - 1)`.
        levels: Number of refinements of the grid.

    Returns:
        Thickness of the fog, of shape `(batch, 2**levels, 2**levels)`, scaled so that each map ranges from 0 to 1.
    """
    grid = tf.zeros_like(numbers[:, :1, tf.newaxis])
    size = 1.0
    for level in range(levels):
        side = 2**level
        first = side**2 - 1
        parts = tf.reshape(numbers[:, first : first + 3 * side**2], [-1, 3, side, side])
        wobbles = tf.unstack(size * (2 * parts - 1), axis=1)
        grid, size = refined(grid, wobbles), size / DECAY
    lowest = tf.reduce_min(grid, axis=(1, 2), keepdims=True)
    highest = tf.reduce_max(grid, axis=(1, 2), keepdims=True)
    return tf.math.divide_no_nan(grid - lowest, highest - lowest)


def refined(grid: tf.Tensor, wobbles: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns a grid with twice as many points per side; a new point is the mean of four neighbours plus a wobble.

    Args:
        grid: Grid of shape `(batch, side, side)`; its last row and column are followed by the first.
        wobbles: Offsets of the centres of the squares, of their upper edges and of their left edges, each of that
            shape.
    """
    center, upper, left = wobbles
    below, beside = tf.roll(grid, -1, 1), tf.roll(grid, -1, 2)
    middles = (grid + below + beside + tf.roll(below, -1, 2)) / 4 + center
    uppers = (grid + beside + middles + tf.roll(middles, 1, 1)) / 4 + upper
    lefts = (grid + below + middles + tf.roll(middles, 1, 2)) / 4 + left
    rows = tf.stack([tf.stack([grid, uppers], axis=-1), tf.stack([lefts, middles], axis=-1)], axis=2)
    return tf.reshape(rows, [-1, 2 * grid.shape[1], 2 * grid.shape[2]])
