"""The inputs of a fine-tuning run: an encoder, and labelled images of the size that it takes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from acl_tf.data import sources
from acl_tf.data.image_set import ImageSet
from acl_tf.data.splits import default_validation_count, hold_out, labels_of
from acl_tf.errors import ModelFolderError, UsageError
from acl_tf.files import sha256
from acl_tf.finetune.config import RANDOM, EncoderConfig, LabelledDataConfig
from acl_tf.hub.locate import find_model_folder
from acl_tf.model_folder.files import ENCODER_FILES, MODEL
from acl_tf.model_folder.locate import read_config
from acl_tf.model_folder.manifest import verify
from acl_tf.model_folder.read import load_encoder
from acl_tf.models import BACKBONES
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder


@dataclass(frozen=True)
class StartingEncoder:
    """An encoder, with information about it.

    Attributes:
        encoder: Encoder with both branches.
        default_branch: Branch that the pre-training made robust.
        sha256: SHA-256 of the encoder's `model.keras`; None for random weights.
    """

    encoder: Encoder
    default_branch: Branch
    sha256: str | None

    def about(self) -> dict[str, Any]:
        """Returns the information about the encoder that must be the same when a run is resumed."""
        return {"arch": self.encoder.arch, "width": self.encoder.width, "sha256": self.sha256}


@dataclass(frozen=True)
class Inputs:
    """The inputs of a fine-tuning run.

    Attributes:
        start: The encoder.
        train: Images to train on, all with labels.
        validation: Images held out of the training images.
    """

    start: StartingEncoder
    train: ImageSet
    validation: ImageSet


def load_inputs(encoder: EncoderConfig, train: ImageSet, validation: ImageSet) -> Inputs:
    """Loads an encoder, and resizes images to the size that it takes.

    Args:
        encoder: Section that names the encoder.
        train: Images to train on.
        validation: Images held out of the training images.

    Raises:
        UsageError: If there is no such architecture.
        ModelFolderError: If the encoder's folder is missing, damaged, or a classifier's.
    """
    start = starting_encoder(encoder, train.image_shape)
    size = start.encoder.image_shape[0]
    return Inputs(start, train.resized(size), validation.resized(size))


def load_images(data: LabelledDataConfig) -> tuple[ImageSet, ImageSet]:
    """Loads the images to train on and those to validate on.

    Args:
        data: Section that names the images, and the number of those held out.

    Raises:
        UsageError: If there is no such data set, or if it has too few images or classes.
        DataError: If the images are missing, unreadable or without labels.
    """
    everything = sources.load(data)
    present = len(np.unique(labels_of(everything)))
    if present < 2:
        raise UsageError(f"A classifier needs images of at least 2 classes; {everything.name} has {present}.")
    return hold_out(everything, data.validation or default_validation_count(everything.name, len(everything)))


def check_encoder(config: EncoderConfig) -> str | None:
    """Checks that the encoder that a configuration names can be loaded, without creating variables.

    Args:
        config: Section that names the encoder.

    Returns:
        The SHA-256 of the encoder's `model.keras`; None for random weights.

    Raises:
        UsageError: If there is no such architecture.
        ModelFolderError: If the folder is missing, damaged, or a classifier's.
    """
    if config.is_random:
        BACKBONES[config.source.removeprefix(RANDOM)]  # raises an error that names the known architectures
        return None
    folder = find_model_folder(config.source, ENCODER_FILES)
    verify(folder)
    about = read_config(folder)
    if about["kind"] != "encoder":
        raise ModelFolderError(
            f"An encoder is needed here, and this is a {about['kind']} of {len(about['classes'])} classes; name the "
            f"run that it was fine-tuned from. Received: {config.source!r}"
        )
    return sha256(folder / MODEL)


def starting_encoder(config: EncoderConfig, image_shape: tuple[int, int, int]) -> StartingEncoder:
    """Loads the encoder that a configuration names, or builds a random one.

    Args:
        config: Section that names the encoder.
        image_shape: Height, width and channels of the images for a random encoder; a pre-trained one has its own shape.

    Raises:
        UsageError: If there is no such architecture.
        ModelFolderError: If the folder is missing, damaged, or a classifier's.
    """
    digest = check_encoder(config)
    if digest is None:
        arch = config.source.removeprefix(RANDOM)
        encoder = Encoder(arch, width=config.width or 1.0, image_shape=image_shape, synchronized=True)
        return StartingEncoder(encoder, Branch.ADVERSARIAL, None)
    folder = find_model_folder(config.source, ENCODER_FILES)
    return StartingEncoder(load_encoder(folder), Branch(read_config(folder)["branch"]), digest)
