"""Communication between replicas: sums, gathers, and the place of a replica in the global batch."""

import tensorflow as tf


def replicas() -> int:
    """Returns the number of replicas that share the current step; 1 outside `tf.distribute`."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def global_sum(value: tf.Tensor) -> tf.Tensor:
    """Returns the sum of `value` over all replicas; differentiable."""
    if replicas() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce("SUM", value)


def global_mean(value: tf.Tensor) -> tf.Tensor:
    """Returns the mean of `value` over all replicas; differentiable."""
    return global_sum(value) / replicas()


def global_batch(value: tf.Tensor) -> tf.Tensor:
    """Returns the rows of all replicas, in replica order; differentiable."""
    if replicas() == 1:
        return value
    return tf.distribute.get_replica_context().all_gather(value, axis=0)


def place_in_global_batch(local_batch: int | tf.Tensor) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """Returns the index of this replica's first row in the global batch, and the size of that batch."""
    if replicas() == 1:
        return 0, local_batch
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.cast(replica, tf.int32) * local_batch, local_batch * replicas()
