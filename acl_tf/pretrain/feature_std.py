"""A sign of collapse: how far features spread over the sphere."""

import tensorflow as tf

from acl_tf.replicas import global_mean


def feature_std(features: tf.Tensor) -> tf.Tensor:
    """Returns the standard deviation over the global batch of the l2-normalised features, averaged over dimensions.

    It is about `1 / sqrt(dim)` for features that spread over the sphere, and 0 where they have collapsed to a point.

    Args:
        features: Shape `(batch, dim)`.

    Returns:
        Scalar.

    Reference: Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, section 4.1.
    """
    normalized = tf.math.l2_normalize(tf.cast(features, tf.float32), axis=1)
    mean = global_mean(tf.reduce_mean(normalized, axis=0))
    variance = global_mean(tf.reduce_mean(tf.square(normalized - mean), axis=0))
    return tf.reduce_mean(tf.sqrt(variance))
