"""A model to export, with what its folder says about it."""

from dataclasses import dataclass, replace

import keras

from acl_tf.errors import UsageError
from acl_tf.export.saved_model import image_shape
from acl_tf.models.batch_norm_folding import fold_batch_norm


@dataclass(frozen=True)
class ServedModel:
    """A model to serve.

    Attributes:
        model: Plain Keras model of images in [0, 1].
        kind: Kind of the model, `"encoder"` or `"classifier"`.
        classes: Names of a classifier's classes; empty if they are not known.
    """

    model: keras.Model
    kind: str
    classes: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the input images."""
        return image_shape(self.model)

    def folded(self) -> "ServedModel":
        """Returns the same model with batch normalisation folded into the convolutions."""
        return replace(self, model=fold_batch_norm(self.model))


def to_serve(model: keras.Model) -> ServedModel:
    """Returns a loaded model with everything that is needed to serve it.

    A lone `.keras` file, which comes without a configuration, is a classifier if it ends in a dense layer, and must
    return logits.

    Args:
        model: Model as `acl_tf.load` returns it.

    Raises:
        UsageError: If the model does not take images of one size, or if a lone file ends in an activation.
    """
    image_shape(model)
    kind = model.config.get("kind") or _kind(model)
    return ServedModel(model, kind, tuple(model.config.get("classes") or ()))


def _kind(model: keras.Model) -> str:
    """Returns the kind of a lone model: one that ends in a dense layer is a classifier."""
    last = [layer for layer in _layers(model) if not _is_linear_activation(layer)][-1]
    activation = keras.activations.linear
    if isinstance(last, keras.layers.Softmax):
        activation = keras.activations.softmax
    elif isinstance(last, keras.layers.Dense | keras.layers.Activation):
        activation = last.activation
    if activation is not keras.activations.linear:
        raise UsageError(
            "The last layer of a classifier returns logits; probabilities are computed from them when it is served. "
            f"Received: activation {getattr(activation, '__name__', type(activation).__name__)}"
        )
    return "classifier" if isinstance(last, keras.layers.Dense) else "encoder"


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers in order, with a model at the end replaced by its own layers."""
    *before, last = model.layers
    return [*before, *(_layers(last) if isinstance(last, keras.Model) else [last])]


def _is_linear_activation(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.linear
