"""The floating-point operations of a DS step, counted from the Keras models."""

import math
from typing import Any

import keras

# A DS step contrasts two views in each of two streams: one of clean views, one of attacked views.
VIEWS, STREAMS = 2, 2


def forward_flops(graph: keras.Model) -> int:
    """Returns the operations of the convolutions and dense layers for one image; all others are negligible.

    Each multiplication and each addition counts, also those with padded zeros: `2 · kernel · positions`.

    Args:
        graph: Functional model, such as `Encoder.graph(branch)`.

    Raises:
        TypeError: If another kind of layer has a kernel.
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
    """Returns the operations of a DS step per image: `2 views × (2·steps·F + 2 streams × 3F)`.

    F is the forward pass of a view. An attack step is a forward pass and the gradient of the image, 2F; training is a
    forward pass and the gradients of activations and weights, 3F. Additional work of a framework does not count: weight
    gradients in the attack, or passes that are repeated to save memory.

    Args:
        forward: Operations of encoder and projection head together, for one view.
        attack_steps: Number of steps of the attack on both views.
    """
    return VIEWS * (2 * attack_steps * forward + STREAMS * 3 * forward)
