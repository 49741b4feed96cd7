"""Reading a model folder: the published model, its SavedModel, and the encoder with both branches."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import safetensors
import tensorflow as tf

from acl_tf.errors import ModelFolderError
from acl_tf.model_folder.files import CONFIG, MODEL, PAIRED, SAVED_MODEL
from acl_tf.model_folder.locate import find_on_disk, read_config, read_records
from acl_tf.model_folder.manifest import verify
from acl_tf.model_folder.weights import named_weights
from acl_tf.models.encoder import Encoder
from acl_tf.models.paired_model import PairedModel
from acl_tf.safety.keras_file import check_keras_file
from acl_tf.safety.paths import check_files
from acl_tf.safety.saved_model import check_saved_model, read_contents

logger = logging.getLogger(__name__)


def load_model(model: str | Path) -> keras.Model:
    """Loads the published model; see `acl_tf.load`."""
    if Path(model).suffix == ".keras":
        loaded = _load_keras(Path(model).expanduser())
        loaded.config, loaded.records = {}, []
        return loaded
    folder = find_on_disk(model)
    verify(folder)
    loaded = _load_keras(folder / MODEL)
    loaded.config = read_config(folder)
    loaded.records = read_records(folder)
    return loaded


def load_saved_model(model: str | Path, trust: bool = False) -> Any:
    """Loads a SavedModel; see `acl_tf.load_saved_model`."""
    path = Path(model).expanduser()
    if any(path.glob("saved_model.*")):
        check_files(path)
    else:
        folder = find_on_disk(model)
        verify(folder)
        path = folder / SAVED_MODEL
    if trust:
        for finding in read_contents(path).findings:
            logger.warning("Trusted, as the caller says: %s: %s", path, finding)
    else:
        check_saved_model(path)
    return tf.saved_model.load(str(path))


def load_encoder(model: str | Path) -> Encoder:
    """Loads the encoder with all its branches, for further training.

    Args:
        model: Run folder or model folder.

    Raises:
        ModelFolderError: If the folder is missing, incomplete, or differs from its manifest.
    """
    folder = find_on_disk(model)
    verify(folder)
    config = read_config(folder)
    with _blaming_config(folder):
        encoder = Encoder(
            config["arch"],
            width=config["width"],
            stem=config["stem"],
            stem_padding=config.get("stem_padding", 1),  # folders of 0.1 do not say
            image_shape=config["input_shape"],
            batch_norm=config["batch_norm"],
            mean=config["mean"],
            std=config["std"],
            synchronized=True,
        )
    _load_weights(folder / PAIRED, "encoder", encoder)
    return encoder


@contextlib.contextmanager
def _blaming_config(folder: Path) -> Iterator[None]:
    """Turns an error in the block into one that says that the configuration is damaged."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{folder / CONFIG} is damaged: it describes no model ({error!r}).") from error


def _load_weights(path: Path, part: str, model: PairedModel) -> None:
    variables = named_weights(model)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = {name.removeprefix(f"{part}/") for name in file.keys() if name.startswith(f"{part}/")}
            if names != set(variables):
                odd = sorted(names ^ set(variables))
                raise ModelFolderError(f"{path} does not match config.json. Received: {', '.join(odd[:5])}")
            for name, variable in variables.items():
                variable.assign(file.get_tensor(f"{part}/{name}"))
    except (safetensors.SafetensorError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read: {error}") from error


def _load_keras(path: Path) -> keras.Model:
    if not path.is_file():
        raise ModelFolderError(f"No such .keras file. Received: {str(path)!r}")
    check_keras_file(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFolderError(f"{path} is not a Keras model of built-in layers: {reason}") from error
