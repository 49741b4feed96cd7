"""One branch while its weights stand still: what an attack differentiates."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from acl_tf.models.batch_norm import BatchNormalization
from acl_tf.models.batch_norm_folding import foldable, scale_and_shift
from acl_tf.models.branch import Branch
from acl_tf.models.paired_batch_norm import PairedBatchNormalization
from acl_tf.models.paired_model import PairedModel

Network = Callable[[tf.Tensor], tf.Tensor]
Weights = list[tuple[keras.Variable, tf.Tensor]]


class FrozenBranch:
    """A branch in inference mode, with batch normalisation folded into the convolutions before it.

    In inference mode batch normalisation scales and shifts each channel by constants. An attack passes the network many
    times between two updates: folded once, the scales cost nothing, and what is left fuses with the convolution.

    Args:
        model: Network to freeze; `freeze` reads its weights.
        branch: `"standard"` or `"adversarial"`.
    """

    def __init__(self, model: PairedModel, branch: Branch | str) -> None:
        self.branch = Branch(branch)
        graph = model.graph(branch)
        pairs = {conv: norm for conv, norm in foldable(graph).items() if not graph.get_layer(conv).use_bias}
        self.pairs = {graph.get_layer(conv): self._norm(graph.get_layer(norm)) for conv, norm in pairs.items()}
        norms = set(pairs.values())

        def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
            return (
                Shift(self._norm(layer), f"{layer.name}_shift")(*args)
                if layer.name in norms
                else layer(*args, **kwargs)
            )

        self.graph = keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=call)

    def freeze(self) -> Network:
        """Returns what the branch computes with the current weights; no gradient reaches them."""
        folded = {id(variable): value for variable, value in self._folded()}
        weights = [(v, tf.stop_gradient(folded.get(id(v), tf.convert_to_tensor(v)))) for v in self.graph.variables]

        def network(inputs: tf.Tensor) -> tf.Tensor:
            with keras.StatelessScope(weights):
                return self.graph(inputs, training=False)

        return network

    def _folded(self) -> Weights:
        """Returns the kernels with the scales in them, and the shifts in the place of beta."""
        weights: Weights = []
        for conv, norm in self.pairs.items():
            scale, shift = scale_and_shift(norm)
            weights.append((conv.kernel, tf.convert_to_tensor(conv.kernel) * scale))  # kernel: HWIO
            weights.append((norm.beta, shift))
        return weights

    def _norm(self, layer: keras.layers.Layer) -> BatchNormalization:
        return layer.of(self.branch) if isinstance(layer, PairedBatchNormalization) else layer


class Shift(keras.layers.Layer):
    """What is left of a batch normalisation whose scale is in the convolution before it: its beta.

    Args:
        norm: The batch normalisation.
        name: Name of the layer.
    """

    def __init__(self, norm: BatchNormalization, name: str) -> None:
        super().__init__(name=name, dtype=norm.dtype_policy)
        self.norm = norm
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.bias_add(inputs, tf.cast(self.norm.beta, inputs.dtype))  # fuses with a convolution

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
