"""Adversarial contrastive pre-training of robust image encoders with Keras 3 and TensorFlow.

Importing `acl_tf` imports neither TensorFlow nor Keras; what needs them is imported on first use.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

# Keras reads this once, at its first import; acl_tf trains on TensorFlow only.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

__version__ = "0.1.0"


def load(path: str) -> "keras.Model":
    """Loads the published model of a run folder, a model folder or a `.keras` file.

    Args:
        path: A folder that `acl-tf` wrote, or a `.keras` file.

    Returns:
        A plain Keras model of built-in layers. It maps float32 images in [0, 1], of shape
        `(batch, height, width, channels)`, to features (an encoder) or logits (a classifier), and has two
        more attributes: `config`, the folder's `config.json`, and `records`, its evaluation records.

    Raises:
        ModelFolderError: If the folder is missing, incomplete, or differs from its manifest.
    """
    from acl_tf.model_folder import load_model

    return load_model(path)
