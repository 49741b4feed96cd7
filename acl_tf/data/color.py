"""Colour jitter and greyscale of a batch, with parameters for each image."""

import itertools

import tensorflow as tf

# ITU-R 601 luma, the greyscale of Pillow and torchvision.
GRAYSCALE_WEIGHTS = (0.299, 0.587, 0.114)

# The operations in the order of a colour jitter, numbered as in torchvision.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
JITTER_ORDERS = tuple(itertools.permutations((BRIGHTNESS, CONTRAST, SATURATION, HUE)))


def color_jitter(
    images: tf.Tensor,
    brightness: tf.Tensor,
    contrast: tf.Tensor,
    saturation: tf.Tensor,
    hue: tf.Tensor,
    order: tf.Tensor,
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue of each image, in its own order.

    The operations are torchvision's; each one clips its result to [0, 1].

    Args:
        images: Images, float32 `(batch, height, width, 3)` in [0, 1].
        brightness: Factors of brightness, float32 `(batch,)`; 1 changes nothing.
        contrast: Factors of contrast, float32 `(batch,)`.
        saturation: Factors of saturation, float32 `(batch,)`.
        hue: Shifts of hue in turns, float32 `(batch,)` in [-0.5, 0.5]; 0 changes nothing.
        order: Permutations of `BRIGHTNESS`, `CONTRAST`, `SATURATION`, `HUE`, first to last, int32 `(batch, 4)`.

    Returns:
        float32, shaped like `images`, in [0, 1].
    """
    factors = tf.stack([brightness, contrast, saturation, tf.ones_like(hue)], axis=1)
    factors = tf.gather(factors, order, batch_dims=1)
    hue_position = tf.argmax(tf.cast(order == HUE, tf.int32), axis=1, output_type=tf.int32)
    # Hue is by far the most expensive, so it is shifted once for all images, after the operations that precede it.
    for k in range(3):
        images = _blend(images, tf.where(k < hue_position, factors[:, k], 1.0), order[:, k])
    images = _shift_hue(images, hue)
    for k in range(1, 4):
        images = _blend(images, tf.where(k > hue_position, factors[:, k], 1.0), order[:, k])
    return images


def _blend(images: tf.Tensor, factor: tf.Tensor, operation: tf.Tensor) -> tf.Tensor:
    """Moves images away from black, their mean grey, or their greyscale; a factor of 1 leaves them as they are."""
    gray = _grayscale(images)
    mean = tf.reduce_mean(gray, axis=(1, 2), keepdims=True)
    base = tf.where(per_image(operation == SATURATION), gray, tf.where(per_image(operation == CONTRAST), mean, 0.0))
    factor = per_image(factor)
    return tf.clip_by_value(factor * images + (1.0 - factor) * base, 0.0, 1.0)


def _shift_hue(images: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    hue, saturation_value = tf.split(tf.image.rgb_to_hsv(images), [1, 2], axis=-1)
    hue += per_image(shift)
    hue -= tf.floor(hue)
    return tf.image.hsv_to_rgb(tf.concat([hue, saturation_value], axis=-1))


def random_grayscale(images: tf.Tensor, selected: tf.Tensor) -> tf.Tensor:
    """Makes the selected images grey.

    Args:
        images: Images, float32 `(batch, height, width, 3)` in [0, 1].
        selected: Whether to make each image grey, boolean `(batch,)`.

    Returns:
        float32, shaped like `images`, with three equal channels where selected.
    """
    return tf.where(per_image(selected), _grayscale(images), images)


def _grayscale(images: tf.Tensor) -> tf.Tensor:
    # Not a matrix product, which GPUs would round to TensorFloat-32, nor a reduction over 3 elements, slow on CPUs.
    red, green, blue = tf.split(images, 3, axis=-1)
    return GRAYSCALE_WEIGHTS[0] * red + GRAYSCALE_WEIGHTS[1] * green + GRAYSCALE_WEIGHTS[2] * blue


def per_image(values: tf.Tensor) -> tf.Tensor:
    """Gives values of shape `(batch,)` the axes of images, to broadcast."""
    return values[:, tf.newaxis, tf.newaxis, tf.newaxis]
