"""A SavedModel as a classifier, through its serving signature, which is differentiable."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from acl_tf.errors import ModelFolderError
from acl_tf.files import sha256
from acl_tf.model_folder.read import load_saved_model
from acl_tf.types import Classifier

SIGNATURE = "serving_default"


class ServingSignature(NamedTuple):
    """The signature of a SavedModel that maps images to logits.

    Attributes:
        logits: Function from images in [0, 1] to logits.
        input_shape: Shape of the images, `(None, height, width, channels)`.
        output_shape: Shape of the logits, `(None, classes)`.
        sha256: SHA-256 of all files of the SavedModel.
    """

    logits: Classifier
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    sha256: str


def is_saved_model(path: Path) -> bool:
    """Returns whether a folder holds a SavedModel."""
    return (path / "saved_model.pb").is_file()


def load_serving_signature(folder: Path) -> ServingSignature:
    """Loads a SavedModel whose signature maps one float32 tensor of images to logits.

    Args:
        folder: Folder that holds `saved_model.pb`.

    Raises:
        UnsafeModelError: If it would do more than compute.
        ModelFolderError: If it has no such signature.
    """
    loaded = load_saved_model(folder)
    signature = loaded.signatures.get(SIGNATURE)
    if signature is None:
        names = ", ".join(sorted(loaded.signatures)) or "none"
        raise ModelFolderError(
            f"A SavedModel is evaluated by its signature {SIGNATURE}. Received: {folder} with {names}"
        )
    inputs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    output = "logits" if "logits" in outputs else next(iter(outputs))
    if len(inputs) != 1 or (output != "logits" and len(outputs) > 1):
        raise ModelFolderError(
            f"The signature {SIGNATURE} must map images to logits, or to nothing else. "
            f"Received: from {', '.join(sorted(inputs))} to {', '.join(sorted(outputs))} in {folder}"
        )
    ((name, images),) = inputs.items()
    if images.dtype != tf.float32 or not outputs[output].dtype.is_floating:
        raise ModelFolderError(
            f"The signature {SIGNATURE} must map float32 images in [0, 1] to logits. "
            f"Received: from {images.dtype.name} to {outputs[output].dtype.name} in {folder}"
        )
    logits = _Signature(loaded, name, output)
    return ServingSignature(logits, _shape(images.shape), _shape(outputs[output].shape), digest(folder))


def digest(folder: Path) -> str:
    """Returns the SHA-256 of a list of all files in a folder, with their names and SHA-256."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = [f"{sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class _Signature:
    """Calls a signature and keeps the loaded object, because a signature alone does not keep its variables."""

    def __init__(self, loaded: Any, name: str, output: str) -> None:
        self.loaded, self.name, self.output = loaded, name, output

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.loaded.signatures[SIGNATURE](**{self.name: images})[self.output]


def _shape(shape: tf.TensorShape) -> tuple[int | None, ...]:
    return tuple(shape.as_list()) if shape.rank is not None else ()
