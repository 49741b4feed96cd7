"""The names of weights in `paired.safetensors`."""

import keras

from acl_tf.models.paired_model import PairedModel


def named_weights(model: PairedModel | None) -> dict[str, keras.Variable]:
    """Returns the weights by name, `layer/…/variable`, without input normalisation, which `config.json` holds."""
    layers = model.standard_graph.layers if model is not None else []
    return {
        variable.path: variable
        for layer in layers
        if not isinstance(layer, keras.layers.Normalization)
        for variable in layer.weights
    }
