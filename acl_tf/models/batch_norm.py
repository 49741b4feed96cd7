"""Batch normalisation as the published networks keep it: unbiased moving variance, epsilon 1e-5."""

from typing import Any

import keras
import tensorflow as tf

from acl_tf.replicas import global_mean, replicas


@keras.saving.register_keras_serializable("acl_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation whose moving variance is the unbiased one.

    `keras.layers.BatchNormalization` averages the biased variance of the batches; PyTorch, and so every published
    network, normalises by the biased variance but averages the unbiased one (n / (n - 1) larger). In inference
    the two layers compute the same, so exported models use the built-in one.

    Args:
        momentum: Share of the old moving statistics that an update keeps.
        epsilon: Added to the variance.
        synchronized: Whether the statistics are those of the global batch under `tf.distribute`.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape: `(batch, …, channels)`. Output shape: the same.

    Reference: Ioffe and Szegedy, "Batch Normalization", ICML 2015, Algorithms 1 and 2.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, synchronized: bool = False, **kwargs: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, synchronized=synchronized, **kwargs)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        learn = bool(training) and self.trainable
        # One fused kernel instead of a dozen: 4 to 6 times faster on CPUs. It knows neither float64 nor replicas,
        # and in float32 inference two elementwise operations are faster than it is.
        four_axes = len(inputs.shape) == 4 and inputs.dtype in (tf.float32, tf.bfloat16, tf.float16)
        if four_axes and learn and not (self.synchronized and replicas() > 1):
            outputs, mean, variance = self._fused(inputs, is_training=True)
        elif four_axes and not learn and inputs.dtype != tf.float32:
            return self._fused(inputs, is_training=False)[0]
        elif learn:
            outputs, mean, variance = self._generic(inputs)
        else:
            return super().call(inputs, training=False)
        self._update(self.moving_mean, mean)
        self._update(self.moving_variance, variance)
        return outputs

    def _fused(self, inputs: tf.Tensor, is_training: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns outputs, batch mean and unbiased batch variance of a 4-axis tensor."""
        nothing = tf.zeros([0])
        outputs = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=nothing if is_training else tf.convert_to_tensor(self.moving_mean),
            variance=nothing if is_training else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=is_training,
        )
        return outputs.y, outputs.batch_mean, outputs.batch_variance

    def _generic(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns what `_fused` does, for any number of axes, any dtype, and the statistics of all replicas."""
        wide = tf.cast(inputs, self.gamma.dtype)  # half-precision sums overflow
        axes = list(range(len(inputs.shape) - 1))
        mean = tf.reduce_mean(wide, axes)
        mean = global_mean(mean) if self.synchronized else mean
        variance = tf.reduce_mean(tf.square(wide - mean), axes)
        variance = global_mean(variance) if self.synchronized else variance
        outputs = tf.nn.batch_normalization(wide, mean, variance, self.beta, self.gamma, self.epsilon)
        count = tf.size(inputs) // inputs.shape[-1] * (replicas() if self.synchronized else 1)
        bessel = tf.cast(count, wide.dtype) / tf.cast(tf.maximum(count - 1, 1), wide.dtype)
        return tf.cast(outputs, self.compute_dtype), mean, variance * bessel

    def _update(self, moving: keras.Variable, batch: tf.Tensor) -> None:
        moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))

    def get_config(self) -> dict[str, Any]:
        return {
            **keras.layers.Layer.get_config(self),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "synchronized": self.synchronized,
        }
