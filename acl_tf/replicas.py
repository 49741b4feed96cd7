"""What a replica needs to know of the others: nothing but these sums, gathers and its place in the global batch."""

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
    """Returns where this replica's rows begin in the global batch, and how many rows that has."""
    if replicas() == 1:
        return 0, local_batch
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.cast(replica, tf.int32) * local_batch, local_batch * replicas()
