"""The classifier that an evaluation is about."""

import functools
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from acl_tf.data.image_set import ImageSet
from acl_tf.errors import ModelFolderError, UsageError
from acl_tf.evaluate.base import Classifier
from acl_tf.export.batch_norm_folding import fold_batch_norm
from acl_tf.files import sha256
from acl_tf.locate import find_model_folder
from acl_tf.model_files import MODEL
from acl_tf.model_folder import load_model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier, and where it comes from.

    Attributes:
        name: As the user calls it.
        model: From images in [0, 1] to logits.
        folded: The same with batch normalisation folded into the convolutions: what attacks differentiate, faster.
        classes: Names of the classes; numbers where they are not known.
        sha256: Of `model.keras`.
        folder: The model folder; None for a lone `.keras` file.
    """

    name: str
    model: keras.Model
    folded: keras.Model
    classes: tuple[str, ...]
    sha256: str
    folder: Path | None

    @property
    def logits(self) -> Classifier:
        """The model in inference mode."""
        return functools.partial(self.model, training=False)

    @property
    def attacked(self) -> Classifier:
        """What attacks look at: the same function."""
        return functools.partial(self.folded, training=False)

    @property
    def image_size(self) -> int | None:
        """Height and width of the images that it takes; None: any."""
        return self.model.input_shape[1]

    def described(self) -> str:
        """Returns what it takes and knows, in words."""
        size = f"{self.image_size}x{self.image_size}" if self.image_size else "any"
        return f"images of {size} pixels, {len(self.classes)} classes"

    def check(self, image_set: ImageSet) -> None:
        """Checks that the classes are as many as the model's, and warns where they are called otherwise.

        Raises:
            UsageError: If they are not as many.
        """
        if len(image_set.classes) != len(self.classes):
            raise UsageError(
                f"{self.name} knows {len(self.classes)} classes, and {image_set.name} has {len(image_set.classes)}; "
                f"fine-tune an encoder on that data set first. Received: --dataset {image_set.name}"
            )
        differing = [pair for pair in zip(self.classes, image_set.classes) if _are_names(pair) and pair[0] != pair[1]]
        if differing:
            logger.warning(
                "%s calls class %s what the model calls %s; labels are compared by their numbers.",
                image_set.name,
                *reversed(differing[0]),
            )


def load_classifier(name: str) -> LoadedClassifier:
    """Loads a classifier from a run folder, a model folder, a `.keras` file or the Hub.

    Raises:
        ModelFolderError: If it is missing, damaged, or no classifier of images.
        HubError: If it is on the Hub, and that cannot be reached, or refuses.
    """
    folder = None if Path(name).suffix == ".keras" else find_model_folder(name)
    model = load_model(folder or name)
    config: dict[str, Any] = model.config if folder else {}
    if config.get("kind", "classifier") != "classifier":
        raise ModelFolderError(
            f"A classifier is needed here, and this is an encoder; make one of it by acl-tf finetune {name}. "
            f"Received: {name!r}"
        )
    taken, returned = model.input_shape, model.output_shape
    if not (_is_shape(taken, 4) and taken[1] == taken[2] and taken[3] == 3 and _is_shape(returned, 2)):
        raise ModelFolderError(
            f"A classifier takes square images (batch, size, size, 3) and returns logits (batch, classes). "
            f"Received: {name!r}, from {taken} to {returned}"
        )
    if (returned[1] or 0) < 2:
        raise ModelFolderError(
            f"A classifier returns a logit for each of two classes or more. Received: {name!r}, returning {returned}"
        )
    classes = tuple(config.get("classes") or map(str, range(returned[1])))
    file = folder / MODEL if folder else Path(name)
    return LoadedClassifier(name, model, fold_batch_norm(model), classes, sha256(file), folder)


def _is_shape(shape: Any, axes: int) -> bool:
    return isinstance(shape, tuple) and len(shape) == axes


def _are_names(classes: Iterable[str]) -> bool:
    return not any(name.isdigit() for name in classes)
