"""Floating-point operations of a DS step, counted from the Keras models."""

import math
from typing import Any

import keras

# A DS step contrasts two views, clean ones in one stream and attacked ones in the other.
VIEWS, STREAMS = 2, 2


def forward_flops(graph: keras.Model) -> int:
    """Returns the operations of the convolutions and dense layers for one image; all else is little beside them.

    Each multiplication and each addition counts, those with padded zeros too: `2 · kernel · positions`.

    Args:
        graph: A functional model, such as `Encoder.graph(branch)`.

    Raises:
        TypeError: If a layer with a kernel is of another kind.
    """
    counts = []

    def counted(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        output = layer(*args, **kwargs)
        if hasattr(layer, "kernel"):
            if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
                raise TypeError(f"Expected Conv2D or Dense. Received: {type(layer).__name__}")
            counts.append(2 * math.prod(layer.kernel.shape) * math.prod(output.shape[1:-1]))
        return output

    keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=counted)
    return sum(counts)


def step_flops(forward: int, attack_steps: int) -> int:
    """Returns what a DS step needs for an image: `2 views × (2·steps·F + 2 streams × 3F)`.

    F is the forward pass of a view. An attack step is a forward pass and the gradient of the image, 2F; training is a
    forward pass and the gradients of activations and weights, 3F. What a framework computes besides does not count:
    weight gradients in the attack, or passes that are repeated to save memory.

    Args:
        forward: Of encoder and projection head together, for one view.
        attack_steps: Of the attack on both views.
    """
    return VIEWS * (2 * attack_steps * forward + STREAMS * 3 * forward)
