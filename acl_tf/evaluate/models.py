"""The classifier that an evaluation is about."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from acl_tf.data.image_set import ImageSet
from acl_tf.errors import ModelFolderError, UsageError
from acl_tf.evaluate.base import Classifier
from acl_tf.files import sha256
from acl_tf.model_folder import MODEL, find_model_folder, load_model


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier, and where it comes from.

    Attributes:
        name: As the user calls it.
        model: From images in [0, 1] to logits.
        classes: Names of the classes; numbers where they are not known.
        sha256: Of `model.keras`.
        folder: The model folder; None for a lone `.keras` file.
    """

    name: str
    model: keras.Model
    classes: tuple[str, ...]
    sha256: str
    folder: Path | None

    @property
    def logits(self) -> Classifier:
        """The model in inference mode."""
        return functools.partial(self.model, training=False)

    @property
    def image_size(self) -> int:
        """Height and width of the images that it takes."""
        return self.model.input_shape[1]

    def check(self, image_set: ImageSet) -> None:
        """Checks that the classes are as many as the model's.

        Raises:
            UsageError: If they are not.
        """
        if len(image_set.classes) != len(self.classes):
            raise UsageError(
                f"{self.name} knows {len(self.classes)} classes, and {image_set.name} has {len(image_set.classes)}; "
                f"fine-tune an encoder on that data set first. Received: --dataset {image_set.name}"
            )


def load_classifier(name: str) -> LoadedClassifier:
    """Loads a classifier from a run folder, a model folder or a `.keras` file.

    Raises:
        ModelFolderError: If it is missing, damaged, or no classifier of images.
    """
    model = load_model(name)
    folder = None if Path(name).suffix == ".keras" else find_model_folder(name)
    config: dict[str, Any] = model.config if folder else {}
    if config.get("kind", "classifier") != "classifier":
        raise ModelFolderError(
            f"A classifier is needed here, and this is an encoder; make one of it by acl-tf finetune {name}. "
            f"Received: {name!r}"
        )
    shapes = model.input_shape, model.output_shape
    if isinstance(shapes[0], list) or len(shapes[0]) != 4 or isinstance(shapes[1], list) or len(shapes[1]) != 2:
        raise ModelFolderError(
            f"A classifier takes images (batch, height, width, channels) and returns logits (batch, classes). "
            f"Received: {name!r}, from {shapes[0]} to {shapes[1]}"
        )
    classes = tuple(config.get("classes") or map(str, range(shapes[1][1])))
    file = folder / MODEL if folder else Path(name)
    return LoadedClassifier(name, model, classes, sha256(file), folder)
