"""Loading of a classifier for evaluation."""

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from acl_tf.classifiers.saved_model import is_saved_model, load_serving_signature
from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import labels_of
from acl_tf.errors import ModelFolderError, UsageError
from acl_tf.files import sha256
from acl_tf.hub.locate import find_model_folder
from acl_tf.model_folder.files import MODEL
from acl_tf.model_folder.read import load_model
from acl_tf.models.batch_norm_folding import fold_batch_norm
from acl_tf.printable import some
from acl_tf.types import Classifier

SHOWN = 20  # classes in a message

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier and its origin.

    Attributes:
        name: Name of the model, as the user wrote it.
        logits: Function from images in [0, 1] to logits, in inference mode.
        attacked: Function that attacks differentiate. It computes the same as `logits`, faster for a Keras model,
            because batch normalisation is folded into the convolutions.
        image_size: Height and width of the input images; None: any.
        classes: Names of the classes, or their numbers if the names are not known.
        sha256: SHA-256 of `model.keras`, or of the files of a SavedModel.
        folder: Model folder; None for a lone `.keras` file or SavedModel.
        trained_sigma: Standard deviation of the Gaussian noise in training; None: no noise, or not known.
    """

    name: str
    logits: Classifier
    attacked: Classifier
    image_size: int | None
    classes: tuple[str, ...]
    sha256: str
    folder: Path | None
    trained_sigma: float | None = None

    def summary(self) -> str:
        """Returns the size of its images and the number of its classes, in words."""
        size = f"{self.image_size}x{self.image_size}" if self.image_size else "any"
        return f"images of {size} pixels, {len(self.classes)} classes"

    def aligned(self, image_set: ImageSet) -> ImageSet:
        """Returns images with the labels of the model's classes, which are matched by name.

        The images may lack classes that the model knows. The numbers from 0 on, in order, are no names: labels are then
        compared by number.

        Raises:
            UsageError: If the images have classes that the model does not know, or, without names, another number.
        """
        own, given = self.classes, image_set.classes
        if given == own:
            return image_set
        if set(given) <= set(own) and len(set(own)) == len(own):
            if len(given) < len(own):
                logger.warning(
                    "%s has %d of the model's %d classes: %s", image_set.name, len(given), len(own), some(given, SHOWN)
                )
            labels = np.array([own.index(name) for name in given], np.int64)[labels_of(image_set)]
            return replace(image_set, labels=labels, classes=own)
        if len(given) != len(own):
            raise UsageError(
                f"{self.name} knows {len(own)} classes, and {image_set.name} has {len(given)}; "
                f"fine-tune an encoder on that data set first. Received: --dataset {image_set.name}"
            )
        if not (_are_numbers(own) or _are_numbers(given)):
            raise UsageError(
                f"{self.name} knows other classes than {image_set.name} has. "
                f"Expected: {some(own, SHOWN)}. Received: {some(given, SHOWN)}"
            )
        return image_set

    def check_noise(self, sigma: float) -> None:
        """Warns if the model was trained on noise of another standard deviation than it is to be smoothed by."""
        if self.trained_sigma is not None and self.trained_sigma != sigma:
            logger.warning(
                "%s was trained on noise of sigma %g; it is smoothed by sigma %g.", self.name, self.trained_sigma, sigma
            )


def load_classifier(name: str) -> LoadedClassifier:
    """Loads a classifier from a run folder, a model folder, a `.keras` file, a SavedModel or the Hub.

    Raises:
        ModelFolderError: If it is missing, damaged, or not a classifier of images.
        UnsafeModelError: If it would do more than compute.
        HubError: If it is on the Hub, and the Hub cannot be reached or refuses.
    """
    path = Path(name).expanduser()
    if is_saved_model(path):
        signature = load_serving_signature(path)
        check_shapes(name, signature.input_shape, signature.output_shape)
        return LoadedClassifier(
            name,
            signature.logits,
            signature.logits,
            signature.input_shape[1],
            _numbers(signature.output_shape),
            signature.sha256,
            None,
        )
    folder = None if Path(name).suffix == ".keras" else find_model_folder(name)
    model = load_model(folder or name)
    config: dict[str, Any] = model.config if folder else {}
    if config.get("kind", "classifier") != "classifier":
        raise ModelFolderError(
            f"A classifier is needed here, and this is an encoder; make one of it by acl-tf finetune {name}. "
            f"Received: {name!r}"
        )
    check_shapes(name, model.input_shape, model.output_shape)
    return LoadedClassifier(
        name,
        functools.partial(model, training=False),
        functools.partial(fold_batch_norm(model), training=False),
        model.input_shape[1],
        tuple(config.get("classes") or _numbers(model.output_shape)),
        sha256(folder / MODEL if folder else Path(name)),
        folder,
        _trained_sigma(config.get("recipe")),
    )


def check_shapes(name: str, taken: Any, returned: Any) -> None:
    """Checks that a model takes square images and returns one logit per class.

    Raises:
        ModelFolderError: If it does not.
    """
    if _is_shape(taken, 4) and taken[0] is not None:
        raise ModelFolderError(f"A classifier takes batches of any size. Received: {name!r}, from {taken}")
    if not (_is_shape(taken, 4) and taken[1] == taken[2] and taken[3] == 3 and _is_shape(returned, 2)):
        raise ModelFolderError(
            f"A classifier takes square images (batch, size, size, 3) and returns logits (batch, classes). "
            f"Received: {name!r}, from {taken} to {returned}"
        )
    if (returned[1] or 0) < 2:
        raise ModelFolderError(
            f"A classifier returns a logit for each of two classes or more. Received: {name!r}, returning {returned}"
        )


def _numbers(returned: tuple[int | None, ...]) -> tuple[str, ...]:
    """Returns the numbers of the classes as text, for logits of a given shape."""
    return tuple(map(str, range(returned[1] or 0)))


def _trained_sigma(recipe: Any) -> float | None:
    method = recipe.get("method") if isinstance(recipe, Mapping) else None
    sigma = method.get("sigma") if isinstance(method, Mapping) else None
    return float(sigma) if isinstance(sigma, int | float) else None


def _is_shape(shape: Any, axes: int) -> bool:
    return isinstance(shape, tuple) and len(shape) == axes


def _are_numbers(classes: Sequence[str]) -> bool:
    """Tells whether classes are only counted, as those of an `.npz` file are."""
    return tuple(classes) == tuple(map(str, range(len(classes))))
