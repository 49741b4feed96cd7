"""LARS, the layer-wise adaptive rate scaling of large-batch contrastive training."""

import re
from typing import Annotated, Any

import keras
import tensorflow as tf
from pydantic import AfterValidator, Field

from acl_tf.config import NonNegative, Number, Positive, Section, regular_expression


@keras.saving.register_keras_serializable("acl_tf")
class LARS(keras.optimizers.Optimizer):
    """Momentum SGD whose rate for each variable follows the ratio of weight and gradient norms.

    With w a variable and g its gradient:

        local = trust_coefficient · ‖w‖ / (‖g‖ + weight_decay · ‖w‖),  and 1 where ‖w‖ or ‖g‖ < 1e-15
        buffer = momentum · buffer + learning_rate · local · (g + weight_decay · w)
        w = w − buffer

    Args:
        learning_rate: A float or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: Share of the buffer that a step keeps.
        weight_decay: Coupled weight decay: part of what the momentum averages.
        trust_coefficient: Factor of the local rates.
        exclude: Regular expression; variables whose path it matches get local rate 1 and no weight decay. ACL
            excludes nothing.
        name: Name of the optimiser.
        **kwargs: Passed on to `keras.optimizers.Optimizer`.

    Reference: You et al., "Large Batch Training of Convolutional Networks", arXiv 1708.03888, Algorithm 1; the form is
    that of ACL's released code.
    """

    class Settings(Section):
        """Settings of LARS; see the arguments of the class."""

        momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
        weight_decay: NonNegative = 1e-6
        trust_coefficient: Positive = 1e-3
        exclude: Annotated[str, AfterValidator(regular_expression)] | None = None

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 5.0,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust_coefficient: float = 1e-3,
        exclude: str | None = None,
        name: str = "lars",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay  # Keras' own `weight_decay` is a decoupled one
        self.trust_coefficient = trust_coefficient
        self.exclude = exclude

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.buffers = self.add_optimizer_variables(variables, "buffer")
        # By index: `update_step` is given the TensorFlow variable, which does not know its path.
        pattern = self.exclude
        self._excluded = frozenset(i for i, v in enumerate(variables) if pattern and re.search(pattern, v.path))

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        learning_rate = tf.cast(learning_rate, variable.dtype)
        gradient = tf.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        if index not in self._excluded:
            weights = tf.convert_to_tensor(variable)
            learning_rate *= self._local_rate(weights, gradient)
            gradient += self.coupled_weight_decay * weights
        buffer = self.buffers[index]
        self.assign(buffer, self.momentum * tf.convert_to_tensor(buffer) + learning_rate * gradient)
        self.assign_sub(variable, buffer)

    def _local_rate(self, weights: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        weight_norm, gradient_norm = tf.norm(weights), tf.norm(gradient)
        rate = self.trust_coefficient * weight_norm / (gradient_norm + self.coupled_weight_decay * weight_norm)
        return tf.where((weight_norm < 1e-15) | (gradient_norm < 1e-15), tf.ones_like(rate), rate)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "trust_coefficient": self.trust_coefficient,
            "exclude": self.exclude,
        }
