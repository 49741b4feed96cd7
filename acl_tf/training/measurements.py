"""What a training step measures: running means until they are logged."""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from acl_tf.replicas import global_mean


class Measurements(keras.metrics.Metric):
    """Means over steps and over the global batch, by name.

    They are the same on every replica, which those of `keras.metrics.Mean` are not: its sums are kept apart until they
    are read, and under several workers reading, or saving, them takes all of these.

    Args:
        names: Names of what is measured.
        name: Name of the metric.
    """

    def __init__(self, names: Sequence[str], name: str = "measurements") -> None:
        super().__init__(name=name, dtype="float32")
        self.names = tuple(names)
        self.totals = keras.Variable(  # sums, and how many values each is of
            "zeros", (2, len(names)), "float32", trainable=False, aggregation="only_first_replica", name="totals"
        )

    def update_state(self, values: Mapping[str, tf.Tensor]) -> None:
        """Adds what was measured in a step.

        Args:
            values: Values of this replica, by name; of one that is not a scalar, the mean counts.

        Raises:
            ValueError: If a name is not one of `names`.
        """
        unknown = sorted(set(values) - set(self.names))
        if unknown:
            raise ValueError(f"`values` must have the names {', '.join(self.names)}. Received: {', '.join(unknown)}")
        means = [tf.reduce_mean(tf.cast(values.get(name, 0.0), tf.float32)) for name in self.names]
        counts = tf.constant([float(name in values) for name in self.names])
        self.totals.assign(self.totals + tf.stack([global_mean(tf.stack(means)), counts]))

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the means since the last reset, by name; 0 where there is nothing."""
        sums, counts = tf.unstack(tf.convert_to_tensor(self.totals))
        return dict(zip(self.names, tf.unstack(tf.math.divide_no_nan(sums, counts))))

    def reset_state(self) -> None:
        self.totals.assign(tf.zeros_like(self.totals))
