"""Batch normalisation folded into the convolutions before it, for inference."""

from typing import Any

import keras
import numpy as np


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a model that computes the same in inference, with fewer layers.

    In inference, batch normalisation scales and shifts each channel by constants: where it follows a convolution, its
    scale goes into the kernel and its shift into a bias. Elsewhere (before the activation, as in a wide ResNet's
    pre-activation blocks) it stays.

    Args:
        model: A functional or sequential model of built-in layers.

    Returns:
        A functional model with its own weights.

    Reference: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018, section 3.2.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    folded = _foldable(model)
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


def _foldable(model: keras.Model) -> dict[str, str]:
    """Returns the convolutions whose only reader is a batch normalisation: `convolution → normalisation`."""
    pairs = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            # One call, one reader; what the model returns itself must stay as it is. Keras has no public way to ask a
            # layer for its readers, but get_config(), which would have to be taken apart for each kind of model.
            readers = [node.operation for node in layer._outbound_nodes]
            alone = len(layer._inbound_nodes) == len(readers) == 1 and _is_of_channels(readers[0])
            if alone and layer.activation is keras.activations.linear and layer.output is not model.outputs[0]:
                pairs[layer.name] = readers[0].name
    return pairs


def _is_of_channels(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and layer.axis in (-1, 3)


def _folded_weights(conv: keras.layers.Conv2D, norm: keras.layers.BatchNormalization) -> list[np.ndarray]:
    kernel, *bias = (np.asarray(weight, np.float64) for weight in conv.get_weights())
    *factors, mean, variance = (np.asarray(weight, np.float64) for weight in norm.get_weights())
    gamma = factors.pop(0) if norm.scale else 1.0
    beta = factors.pop(0) if norm.center else 0.0
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return [kernel * scale, beta + ((bias[0] if bias else 0.0) - mean) * scale]  # kernel: HWIO
