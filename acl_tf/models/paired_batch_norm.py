"""Paired batch normalisation: one set for clean images, one for adversarial ones."""

from typing import Any

import keras
import tensorflow as tf

from acl_tf.models.batch_norm import BatchNormalization
from acl_tf.models.branch import Branch


@keras.saving.register_keras_serializable("acl_tf")
class PairedBatchNormalization(keras.layers.Layer):
    """Two batch normalisations, of which the branch of the call picks one.

    Clean and adversarial images have very different statistics; one set of parameters for both costs standard
    and robust accuracy. Each branch has its own gamma, beta and moving statistics.

    Args:
        momentum: Share of the old moving statistics that an update keeps.
        epsilon: Added to the variance.
        synchronized: Whether the statistics are those of the global batch under `tf.distribute`.
        **kwargs: Passed on to `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, …, channels)`.
        branch: `"standard"` or `"adversarial"`; a Python value, fixed when the graph is traced.
        training: Whether to normalise by the batch, and to move that branch's statistics.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 2.2;
    Xie et al., "Adversarial Examples Improve Image Recognition", CVPR 2020.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, synchronized: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.synchronized = synchronized
        self.standard, self.adversarial = (
            BatchNormalization(momentum, epsilon, synchronized, dtype=self.dtype_policy, name=str(branch))
            for branch in Branch
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.standard.build(input_shape)
        self.adversarial.build(input_shape)

    def of(self, branch: Branch | str) -> BatchNormalization:
        """Returns the batch normalisation of one branch."""
        return self.standard if Branch(branch) is Branch.STANDARD else self.adversarial

    def call(self, inputs: tf.Tensor, branch: Branch | str, training: bool | None = None) -> tf.Tensor:
        return self.of(branch)(inputs, training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "synchronized": self.synchronized,
        }
