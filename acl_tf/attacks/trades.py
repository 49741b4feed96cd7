"""The attack inside TRADES."""

from collections.abc import Sequence

import tensorflow as tf

from acl_tf.attacks.pgd import LinfPGD


class TradesPGD(LinfPGD):
    """L∞ PGD that starts close to the image: at the image itself the KL divergence has no gradient.

    Reference: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019,
    Algorithm 1; the standard deviation is that of the released code.
    """

    start_stddev = 0.001

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        return tf.random.stateless_normal(shape, seed, 0.0, self.start_stddev, dtype)
