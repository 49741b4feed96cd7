"""The snow attack."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from acl_tf.attacks.unforeseen.latent import Latent, LatentAttack, convolved
from acl_tf.randomness import fold_in

# Flakes of one kind have the same shape, and the same place in every square of 4 x 4 pixels: row and column.
SPACING = 4
PLACES = ((0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (3, 0))
REACH = 6  # distance from a flake's centre to its edge, in pixels
NARROW, MEDIUM = 0.6, 0.9  # probability of a streak of width 1, and of width 3 or less; other streaks have width 5
BLUR = (0.41, 0.6)
# Mean intensity of a kind of flake, over regions of 8 x 8 flakes.
BUDGET, REGION = 0.2, 8
HALVINGS = 24  # of the interval that contains the amount by which intensities are lowered
FAINTEST = 1e-9  # flakes without any intensity would have no gradient
GREYED = 0.25
LUMA = np.array([[0.2126], [0.7152], [0.0722]])


class SnowAttack(LatentAttack):
    """Makes images paler and puts snow in front of them; the attack chooses the brightness of each flake.

    The variables are the intensities of the flakes, from 0 to 1, of shape `(batch, rows, columns, kinds)`. Shape and
    direction of each kind of flake are drawn once for each image.

    Args:
        epsilon: Brightness of the flakes, in pixels of [0, 1]; with 0, images only become paler.
        steps: Number of steps.
        step_size: Length of a step along the sign of the gradient, in the unit of the variables.

    Raises:
        ValueError: If a number is negative or not finite.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016; code:
    ddkang/advex-uar, advex_uar/attacks/snow_attack.py, whose budget is kept by scaling.
    """

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Latent:
        flakes = (shape[0], -(-shape[1] // SPACING), -(-shape[2] // SPACING), len(PLACES))
        draws = tf.random.stateless_uniform(flakes, fold_in(seed, 0), 0.0, 1.0, dtype)
        kernels = flake_shapes(shape[0], fold_in(seed, 1), dtype)
        latent = Latent(tf.exp(-draws / BUDGET), (kernels,))
        return latent._replace(moving=self.project(latent))

    def render(self, images: tf.Tensor, latent: Latent) -> tf.Tensor:
        (kernels,) = latent.still
        height, width = images.shape[1:3]
        flakes = scattered(latent.moving**4)[:, :height, :width]
        snow = tf.reduce_sum(convolved(flakes, kernels), axis=-1, keepdims=True)
        luma = tf.einsum("bhwc,cy->bhwy", images, tf.constant(LUMA, images.dtype))
        pale = (1 - GREYED) * images + GREYED * tf.maximum(images, 1.5 * luma + 0.5)
        return tf.clip_by_value(pale + self.epsilon * snow, 0.0, 1.0)

    def project(self, latent: Latent) -> tf.Tensor:
        return within_budget(latent.moving)


def within_budget(intensities: tf.Tensor) -> tf.Tensor:
    """Returns the nearest intensities from `FAINTEST` to 1 whose mean over each region is `BUDGET` at most.

    All intensities of a region are lowered by the same amount, so that bright flakes stay bright. The last regions of
    a row or column may be smaller.

    Args:
        intensities: Intensities of the flakes, of shape `(batch, rows, columns, kinds)`.
    """
    rows, columns = (
        tf.one_hot(tf.range(side) // REGION, -(-side // REGION), dtype=intensities.dtype)
        for side in intensities.shape[1:3]
    )
    sizes = tf.einsum("ri,cj->ij", rows, columns)[:, :, tf.newaxis]

    def lowered(amounts: tf.Tensor) -> tf.Tensor:
        spread = tf.einsum("bijk,ri,cj->brck", amounts, rows, columns)
        return tf.clip_by_value(intensities - spread, FAINTEST, 1.0)

    def means(amounts: tf.Tensor) -> tf.Tensor:
        return tf.einsum("brck,ri,cj->bijk", lowered(amounts), rows, columns) / sizes

    low = tf.zeros([tf.shape(intensities)[0], *sizes.shape[:2], intensities.shape[3]], intensities.dtype)
    high = low + tf.reduce_max(intensities, axis=(1, 2, 3), keepdims=True)
    enough = means(low) <= BUDGET
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = means(middle) > BUDGET
        low, high = tf.where(above, middle, low), tf.where(above, high, middle)
    return lowered(tf.where(enough, tf.zeros_like(high), high))


def scattered(intensities: tf.Tensor) -> tf.Tensor:
    """Returns images of the flakes' centres, one channel per kind, `SPACING` times as high and wide."""
    _, rows, columns, kinds = intensities.shape
    mask = np.zeros((SPACING, 1, SPACING, kinds))
    for kind, (below, beside) in enumerate(PLACES):
        mask[below, 0, beside, kind] = 1
    spread = intensities[:, :, tf.newaxis, :, tf.newaxis] * tf.constant(mask, intensities.dtype)
    return tf.reshape(spread, [-1, SPACING * rows, SPACING * columns, kinds])


def flake_shapes(batch: tf.Tensor | int, seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Draws the shapes of flakes: kernels with a blurred streak through the centre.

    Args:
        batch: Number of images; all flakes of an image fall to the same side.
        seed: An int32 tensor of shape `(2,)`.
        dtype: Type of the result.

    Returns:
        Kernels of shape `(batch, 13, 13, kinds)`.
    """

    def uniform(number: int, kinds: int = len(PLACES)) -> tf.Tensor:
        return tf.random.stateless_uniform((batch, 1, 1, kinds), fold_in(seed, number), dtype=dtype)

    # The end of a streak: 2 to `REACH` pixels below the centre, and 2 to `REACH` pixels beside it.
    below, beside = (2 + tf.floor(uniform(number) * (REACH - 1)) for number in (0, 1))
    side = 1 - 2 * tf.round(uniform(2, kinds=1))
    rank = uniform(3)
    width = 1 + 2 * tf.cast(rank >= NARROW, dtype) + 2 * tf.cast(rank >= MEDIUM, dtype)
    places = tf.range(-REACH, REACH + 1, dtype=dtype)
    rows, columns = places[:, tf.newaxis, tf.newaxis], side * places[:, tf.newaxis]
    steep = streak(columns, rows, beside, below, width)
    streaks = tf.where(below > beside, steep, streak(rows, columns, below, beside, width))
    blur = BLUR[0] + (BLUR[1] - BLUR[0]) * uniform(4)
    squares = tf.constant([[2.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 2.0]], dtype)[:, :, tf.newaxis]
    kernels = tf.exp(-squares / (2 * blur**2))
    return convolved(streaks, kernels / tf.reduce_sum(kernels, axis=(1, 2), keepdims=True))


def streak(across: tf.Tensor, along: tf.Tensor, rise: tf.Tensor, run: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Draws a line through the centre that is at most as steep as a diagonal.

    Args:
        across: Distance of every pixel from the centre along the axis in which the line changes less.
        along: Distance of every pixel from the centre along the other axis.
        rise: Length of the line on the axis `across`, from its centre to an end.
        run: Length of the line on the axis `along`, from its centre to an end.
        width: Width that the line would have as a diagonal.

    Returns:
        The covered share of each pixel, with soft edges, from 0 to 1.
    """
    slope = rise / run
    half = width * tf.sqrt(1 + slope) / 4
    covered = tf.clip_by_value(1 + half - tf.abs(across - slope * along), 0.0, 1.0)
    return tf.where(tf.abs(along) <= run, covered, tf.zeros_like(covered))
