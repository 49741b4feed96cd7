"""Batch normalisation folded into the convolutions before it, for inference.

In inference, batch normalisation scales and shifts each channel by constants: where it follows a convolution, its scale
goes into the kernel and its shift into a bias.

Reference: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018, section 3.2.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from acl_tf.models.paired_batch_norm import PairedBatchNormalization


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a model that computes the same in inference, with fewer layers.

    Batch normalisation that follows no convolution (before the activation, as in a wide ResNet's pre-activation
    blocks) stays.

    Args:
        model: A functional or sequential model of built-in layers.

    Returns:
        A functional model with its own weights.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    folded = foldable(model)
    norms = set(folded.values())

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        bias = {"use_bias": True} if layer.name in folded else {}
        return type(layer).from_config({**layer.get_config(), **bias})

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in norms else layer(*args, **kwargs)

    graph = keras.models.clone_model(model, clone_function=clone, call_function=call)
    plain = keras.Model(graph.inputs[0], graph.outputs[0], name=model.name)
    for layer in plain.layers:
        if layer.name in folded:
            norm = model.get_layer(folded[layer.name])
            layer.set_weights(_folded_weights(model.get_layer(layer.name), norm))
        elif layer.weights:  # an input may have got another name
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return plain


def foldable(graph: keras.Model) -> dict[str, str]:
    """Finds the convolutions whose only reader is a batch normalisation of their channels.

    What the graph returns itself, or calls twice, is left alone, and so is a convolution with an activation.

    Args:
        graph: A functional model; it is not changed.

    Returns:
        Names: `convolution → normalisation`.
    """
    stand_ins: dict[str, _StandIn] = {}
    calls: list[_Call] = []

    def trace(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        outputs = stand_ins.setdefault(layer.name, _StandIn(layer))(*args, **kwargs)
        calls.append(_Call(layer, _tensors((args, kwargs)), _tensors(outputs)))
        return outputs

    returned = keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=trace).outputs
    once = {call.layer.name for call in calls if sum(other.layer is call.layer for other in calls) == 1}
    pairs = {}
    for conv in calls:
        if conv.layer.name in once and _is_linear_convolution(conv.layer):
            (tensor,) = conv.outputs
            readers = [call.layer for call in calls for read in call.inputs if read is tensor]
            exposed = any(output is tensor for output in returned)
            if not exposed and len(readers) == 1 and readers[0].name in once and _is_of_channels(readers[0]):
                pairs[conv.layer.name] = readers[0].name
    return pairs


def scale_and_shift(norm: keras.layers.BatchNormalization, dtype: str | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what a batch normalisation multiplies each channel by in inference, and what it adds then.

    Args:
        norm: The batch normalisation.
        dtype: Precision of the computation; that of its statistics by default.
    """
    mean, variance = (
        tf.cast(tf.convert_to_tensor(v), dtype or v.dtype) for v in (norm.moving_mean, norm.moving_variance)
    )
    scale = tf.math.rsqrt(variance + norm.epsilon)
    if norm.scale:
        scale = tf.cast(tf.convert_to_tensor(norm.gamma), scale.dtype) * scale
    shift = mean * scale
    return scale, tf.cast(tf.convert_to_tensor(norm.beta), scale.dtype) - shift if norm.center else -shift


class _Call(NamedTuple):
    """One call of a layer in a graph."""

    layer: keras.layers.Layer
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]


class _StandIn(keras.Operation):
    """Takes a layer's place in a graph that is only looked at, so that the layer does not learn of it."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__()
        self.layer = layer

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_output_spec(*args, **kwargs)


def _tensors(structure: Any) -> list[keras.KerasTensor]:
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]


def _is_linear_convolution(layer: keras.layers.Layer) -> bool:
    plain = isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.DepthwiseConv2D)
    return plain and layer.activation is keras.activations.linear


def _is_of_channels(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.axis in (-1, 3)
    return isinstance(layer, PairedBatchNormalization)


def _folded_weights(conv: keras.layers.Conv2D, norm: keras.layers.BatchNormalization) -> list[np.ndarray]:
    kernel, *bias = (np.asarray(weight, np.float64) for weight in conv.get_weights())
    scale, shift = (value.numpy() for value in scale_and_shift(norm, "float64"))
    return [kernel * scale, shift + (bias[0] * scale if bias else 0.0)]  # kernel: HWIO
