"""NT-Xent, the normalised temperature-scaled cross-entropy of contrastive learning."""

import tensorflow as tf

from acl_tf.replicas import global_batch, place_in_global_batch


def nt_xent(*projections: tf.Tensor, temperature: float = 0.5, stop_second: bool = False) -> tf.Tensor:
    """Returns the cross-entropy of finding an image's other views among all other views of the batch.

    With more than two views, each view has several others of its image: their cross-entropies, each among all other
    views of the batch, are summed (RoCL's form).

    Under `tf.distribute` the other views are those of the global batch.

    Args:
        *projections: Projections of two or more views, each of shape `(batch, dim)`, floating point; row k of each
            shows the same image.
        temperature: Divisor of the cosine similarities; positive.
        stop_second: Whether the second factor of every similarity is a constant for the gradient (RoCL), which then
            reaches a view only where that is the one whose partners are looked for.

    Returns:
        One loss per view, of shape `(views * batch,)`: those of the first projections, then those of the next.

    Raises:
        ValueError: If there are fewer than two views, or if the temperature is not positive.

    Reference: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, Eq. 1;
    Kim et al., "Adversarial Self-Supervised Contrastive Learning" (RoCL), NeurIPS 2020, as its released code has it.
    """
    views = len(projections)
    if views < 2:
        raise ValueError(f"`nt_xent` compares two or more views. Received: {views}")
    if temperature <= 0:
        raise ValueError(f"`temperature` must be positive. Received: temperature={temperature}")
    normalized = [tf.math.l2_normalize(z, axis=1) for z in projections]
    seconds = [tf.stop_gradient(z) for z in normalized] if stop_second else normalized
    local_batch = tf.shape(normalized[0])[0]
    offset, total = place_in_global_batch(local_batch)
    others = tf.concat([global_batch(z) for z in seconds], axis=0)  # (views * total, dim)
    similarities = tf.matmul(tf.concat(normalized, axis=0), others, transpose_b=True) / temperature

    first = offset + tf.range(local_batch)  # where this replica's first views stand among the others
    places = [first + view * total for view in range(views)]
    itself = tf.concat(places, axis=0)
    similarities -= tf.one_hot(itself, views * total, on_value=similarities.dtype.max, dtype=similarities.dtype)
    partners = [tf.concat(places[shift:] + places[:shift], axis=0) for shift in range(1, views)]
    return tf.add_n(
        [tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=similarities) for partner in partners]
    )
