"""Models from disk or from the Hugging Face Hub, by one call."""

from pathlib import Path
from typing import Any

import keras

from acl_tf.hub.locate import find_model, find_model_folder, of_revision
from acl_tf.model_folder import read
from acl_tf.model_folder.files import ENCODER_FILES
from acl_tf.models.encoder import Encoder


def load(model: str | Path, revision: str | None = None) -> keras.Model:
    """Loads a published model, from disk or from the Hugging Face Hub.

    Args:
        model: A run folder, a model folder, a `.keras` file, or `user/name` on the Hub. Every file is compared with the
            manifest, and only built-in layers and their weights are loaded.
        revision: Branch, tag or commit of a model on the Hub; None: the newest. `config["origin"]` names the commit.

    Returns:
        A plain Keras model of built-in layers. It maps float32 images in [0, 1], of shape
        `(batch, height, width, channels)`, to features (an encoder) or logits (a classifier), and has two
        more attributes: `config`, the folder's `config.json`, and `records`, its evaluation records; both are empty
        for a lone `.keras` file.

    Raises:
        ModelFolderError: If the folder is missing, incomplete, or differs from its manifest.
        HubError: If there is no such model on the Hub, or the Hub cannot be reached.
        UnsafeModelError: If the model would run code.
        UsageError: If a revision is given for a model on disk.
    """
    return read.load_model(find_model(of_revision(str(model), revision)))


def load_encoder(model: str | Path, revision: str | None = None) -> Encoder:
    """Loads an encoder with both branches, for further training.

    Args:
        model: A run folder, a model folder, or `user/name` on the Hub. Every file is compared with the manifest.
        revision: Branch, tag or commit of a model on the Hub; None: the newest.

    Returns:
        The encoder with both sets of batch normalisation, trainable; of a classifier, the encoder inside it.

    Raises:
        ModelFolderError: If the folder is missing, incomplete, or differs from its manifest.
        HubError: If there is no such model on the Hub, or the Hub cannot be reached.
        UsageError: If a revision is given for a model on disk.
    """
    return read.load_encoder(find_model_folder(of_revision(str(model), revision), ENCODER_FILES))


def load_saved_model(model: str | Path, revision: str | None = None, trust: bool = False) -> Any:
    """Loads a SavedModel after checking that its operations do nothing but compute.

    Args:
        model: A folder with `saved_model.pb`, a run folder, a model folder, or `user/name` on the Hub.
        revision: Branch, tag or commit of a model on the Hub; None: the newest.
        trust: Whether to load it even if the check fails; the findings are logged as warnings.

    Returns:
        What `tf.saved_model.load` returns: an object with `signatures`.

    Raises:
        UnsafeModelError: If it would read or write files, run Python, print, or open connections.
        ModelFolderError: If the folder is missing, incomplete, or differs from its manifest.
        HubError: If there is no such model on the Hub, or the Hub cannot be reached.
    """
    name = of_revision(str(model), revision)
    on_disk = any(Path(name).expanduser().glob("saved_model.*"))
    return read.load_saved_model(name if on_disk else find_model_folder(name, files=None), trust)
