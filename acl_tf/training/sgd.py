"""SGD as the published recipes mean it: coupled weight decay, and the rate outside of the momentum."""

from typing import Annotated, Any

import keras
import tensorflow as tf
from pydantic import Field

from acl_tf.config import NonNegative, Number, Section


@keras.saving.register_keras_serializable("acl_tf")
class SGD(keras.optimizers.Optimizer):
    """PyTorch's momentum SGD.

        buffer = momentum · buffer + (g + weight_decay · w)
        w = w − learning_rate · buffer

    and with Nesterov's momentum

        w = w − learning_rate · ((g + weight_decay · w) + momentum · buffer)

    `keras.optimizers.SGD` decouples the weight decay and keeps the rate inside the momentum, so that old steps
    live on at their old rate where the schedule drops it.

    Args:
        learning_rate: A float or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: Share of the old buffer that a step keeps.
        weight_decay: Coupled: it is part of what the momentum averages.
        nesterov: Whether the step looks ahead along the buffer.
        name: Name of the optimizer.
        **kwargs: Passed on to `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If Nesterov's momentum is asked for without a momentum.

    Reference: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """

    class Settings(Section):
        """Settings of SGD; see the arguments of the class."""

        momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
        weight_decay: NonNegative = 1e-6
        nesterov: bool = False

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        name: str = "sgd",
        **kwargs: Any,
    ) -> None:
        if nesterov and not momentum > 0:
            raise ValueError(f"`nesterov` needs a positive momentum. Received: momentum={momentum}")
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay  # Keras' own `weight_decay` is a decoupled one
        self.nesterov = nesterov

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.buffers = self.add_optimizer_variables(variables, "buffer")

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        decayed = tf.cast(gradient, variable.dtype) + self.coupled_weight_decay * tf.convert_to_tensor(variable)
        buffer = self.buffers[self._get_variable_index(variable)]
        self.assign(buffer, self.momentum * tf.convert_to_tensor(buffer) + decayed)
        step = tf.convert_to_tensor(buffer)
        if self.nesterov:
            step = decayed + self.momentum * step
        self.assign_sub(variable, tf.cast(learning_rate, variable.dtype) * step)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "nesterov": self.nesterov,
        }
