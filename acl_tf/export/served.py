"""What is exported: a model, and what its folder says of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import keras

from acl_tf.errors import UsageError
from acl_tf.export.batch_norm_folding import fold_batch_norm
from acl_tf.export.saved_model import image_shape
from acl_tf.model_folder import load_model


@dataclass(frozen=True)
class Served:
    """A model to serve.

    Attributes:
        model: A plain Keras model of images in [0, 1].
        kind: `"encoder"` or `"classifier"`.
        classes: Of a classifier; empty where they are not known.
    """

    model: keras.Model
    kind: str
    classes: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that it takes."""
        return image_shape(self.model)

    def folded(self) -> "Served":
        """Returns the same with batch normalisation folded into the convolutions."""
        return replace(self, model=fold_batch_norm(self.model))


def load_for_serving(name: str) -> Served:
    """Loads a model from a run folder, a model folder, a `.keras` file or the Hub.

    A lone `.keras` file that ends in a dense layer is a classifier, and must return logits.

    Args:
        name: The MODEL argument.

    Raises:
        ModelFolderError: If it is missing or damaged.
        HubError: If it is on the Hub, and that cannot be reached, or refuses.
        UsageError: If it does not take images of one size, or if a lone file ends in an activation.
    """
    model = load_model(name)
    image_shape(model)
    if Path(name).suffix == ".keras":
        return Served(model, _kind(model), ())
    return Served(model, model.config["kind"], tuple(model.config.get("classes") or ()))


def _kind(model: keras.Model) -> str:
    """Finds out what a lone model is: one that ends in a dense layer is a classifier."""
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
    """Returns the layers in order; of a model at the end, its own."""
    *before, last = model.layers
    return [*before, *(_layers(last) if isinstance(last, keras.Model) else [last])]


def _is_linear_activation(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.linear
