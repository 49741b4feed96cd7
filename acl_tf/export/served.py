"""What is exported: a model, and what its folder says of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import keras

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

    A lone `.keras` file that ends in a dense layer is a classifier.

    Args:
        name: The MODEL argument.

    Raises:
        ModelFolderError: If it is missing or damaged.
        HubError: If it is on the Hub, and that cannot be reached, or refuses.
        UsageError: If it does not take images of one size.
    """
    model = load_model(name)
    if Path(name).suffix == ".keras":
        dense = isinstance(model.layers[-1], keras.layers.Dense)
        served = Served(model, "classifier" if dense else "encoder", ())
    else:
        served = Served(model, model.config["kind"], tuple(model.config.get("classes") or ()))
    image_shape(model)
    return served
