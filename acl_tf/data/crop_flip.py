"""The augmentation of supervised training on small images: padding, random crop and horizontal flip."""

import tensorflow as tf

from acl_tf.randomness import fold_in, rows_of_global_batch


class CropFlip:
    """Pads each image with black, cuts out a random window of the original size, and mirrors half of the images.

    All operations are batched and of static shape, so that it runs inside a training step. The random numbers are a
    function of the seed and of an image's place in the global batch.

    Args:
        padding: Number of pixels added on every side.
        flip: Whether half of the images are mirrored.

    Raises:
        ValueError: If `padding` is negative.

    Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.
    """

    def __init__(self, padding: int = 4, flip: bool = True) -> None:
        if padding < 0:
            raise ValueError(f"`padding` must not be negative. Received: padding={padding}")
        self.padding = padding
        self.flip = flip

    def __call__(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns one random version of each image.

        Args:
            images: Images, uint8 of shape `(batch, height, width, channels)`; height and width must be static.
            seed: Seed, int32 tensor of shape `(2,)`.

        Returns:
            float32 in [0, 1], of the same shape.
        """
        batch, (height, width) = tf.shape(images)[0], images.shape[1:3]
        uniform = rows_of_global_batch((batch, 3), lambda shape: tf.random.stateless_uniform(shape, fold_in(seed, 0)))
        offsets = tf.cast(uniform[:, :2] * (2 * self.padding + 1), tf.int32)  # (batch, 2): top, left
        rows = offsets[:, :1] + tf.range(height)
        columns = offsets[:, 1:] + tf.range(width)
        if self.flip:
            columns = tf.where(uniform[:, 2:] < 0.5, columns[:, ::-1], columns)
        margin = [self.padding, self.padding]
        padded = tf.pad(tf.cast(images, tf.float32), [[0, 0], margin, margin, [0, 0]])  # GPUs do not gather bytes
        cut = tf.gather(tf.gather(padded, rows, batch_dims=1), columns, axis=2, batch_dims=1)
        return tf.ensure_shape(cut, images.shape) / 255.0
