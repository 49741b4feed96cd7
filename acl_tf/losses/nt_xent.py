"""NT-Xent, the normalised temperature-scaled cross-entropy of contrastive learning."""

import tensorflow as tf

from acl_tf.replicas import global_batch, place_in_global_batch


def nt_xent(z_i: tf.Tensor, z_j: tf.Tensor, temperature: float = 0.5) -> tf.Tensor:
    """Cross-entropy of finding an image's other view among all other views of the batch.

    Under `tf.distribute` the other views are those of the global batch.

    Args:
        z_i: Projections of the first views, of shape `(batch, dim)`, floating point.
        z_j: Projections of the second views, of the same shape; row k shows the image of row k of `z_i`.
        temperature: Divides the cosine similarities; positive.

    Returns:
        One loss per view, of shape `(2 * batch,)`: those of `z_i`, then those of `z_j`.

    Raises:
        ValueError: If the temperature is not positive.

    Reference: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, Eq. 1.
    """
    if temperature <= 0:
        raise ValueError(f"`temperature` must be positive. Received: temperature={temperature}")
    z_i, z_j = tf.math.l2_normalize(z_i, axis=1), tf.math.l2_normalize(z_j, axis=1)
    local_batch = tf.shape(z_i)[0]
    offset, total = place_in_global_batch(local_batch)
    others = tf.concat([global_batch(z_i), global_batch(z_j)], axis=0)  # (2 * total, dim)
    similarities = tf.matmul(tf.concat([z_i, z_j], axis=0), others, transpose_b=True) / temperature

    first = offset + tf.range(local_batch)  # where this replica's first views stand among the others
    itself = tf.concat([first, first + total], axis=0)
    partner = tf.concat([first + total, first], axis=0)
    similarities -= tf.one_hot(itself, 2 * total, on_value=similarities.dtype.max, dtype=similarities.dtype)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=similarities)
