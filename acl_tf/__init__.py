"""Adversarial contrastive pre-training of robust image encoders with Keras 3 and TensorFlow.

Importing `acl_tf` imports neither TensorFlow nor Keras; what needs them is imported on first use.
"""

import os
from typing import TYPE_CHECKING

from acl_tf import onednn

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import keras

# Keras reads this once, at its first import; acl_tf trains on TensorFlow only.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
onednn.turn_on()

__version__ = "0.1.0"


def load(model: "str | Path", revision: str | None = None) -> "keras.Model":
    """Loads a published model, from disk or from the Hugging Face Hub.

    Args:
        model: A run folder, a model folder, a `.keras` file, or `user/name` on the Hub. Every file is compared with the
            manifest, and nothing is loaded but built-in layers and their weights.
        revision: Of a model on the Hub: a branch, a tag or a commit; None: the newest. Which commit it was stands in
            `config["origin"]`.

    Returns:
        A plain Keras model of built-in layers. It maps float32 images in [0, 1], of shape
        `(batch, height, width, channels)`, to features (an encoder) or logits (a classifier), and has two
        more attributes: `config`, the folder's `config.json`, and `records`, its evaluation records; both are empty
        for a lone `.keras` file.

    Raises:
        ModelFolderError: If the folder is missing, incomplete, or differs from its manifest.
        HubError: If there is no such model on the Hub, or the Hub cannot be reached.
        UnsafeModelError: If the model would run code.
        UsageError: If a revision is given of what is on disk.
    """
    from acl_tf.hub.locate import find_model, of_revision
    from acl_tf.model_folder.read import load_model

    return load_model(find_model(of_revision(str(model), revision)))


def load_saved_model(model: "str | Path", revision: str | None = None, trust: bool = False) -> "Any":
    """Loads a SavedModel, once every operation in it is known to only compute.

    Args:
        model: A folder with `saved_model.pb`, a run folder, a model folder, or `user/name` on the Hub.
        revision: Of a model on the Hub: a branch, a tag or a commit; None: the newest.
        trust: Whether to load it whatever it does; what speaks against it is logged as a warning.

    Returns:
        What `tf.saved_model.load` returns: an object with `signatures`.

    Raises:
        UnsafeModelError: If it would read or write files, run Python, print, or open connections.
        ModelFolderError: If the folder is missing, incomplete, or differs from its manifest.
        HubError: If there is no such model on the Hub, or the Hub cannot be reached.
    """
    from pathlib import Path

    from acl_tf.hub.locate import find_model_folder, of_revision
    from acl_tf.model_folder.read import load_saved_model

    name = of_revision(str(model), revision)
    on_disk = any(Path(name).expanduser().glob("saved_model.*"))
    return load_saved_model(name if on_disk else find_model_folder(name, files=None), trust)
