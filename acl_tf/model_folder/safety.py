"""Safety checks of the models in a model folder."""

from pathlib import Path

from acl_tf.model_folder.files import MODEL
from acl_tf.safety.keras_file import check_keras_file
from acl_tf.safety.saved_model import check_saved_model


def check_keras_model(folder: Path) -> None:
    """Checks the Keras model of a model folder.

    Raises:
        UnsafeModelError: If it holds anything but built-in layers that only compute.
    """
    check_keras_file(folder / MODEL)


def check_saved_models(folder: Path) -> None:
    """Checks every SavedModel in a model folder, wherever it lies.

    Raises:
        UnsafeModelError: If one holds operations that do more than compute.
    """
    for saved_model in saved_models(folder):
        check_saved_model(saved_model)


def saved_models(folder: Path) -> list[Path]:
    """Returns the folders of all SavedModels below a folder, whatever their form."""
    return sorted({file.parent for file in folder.rglob("saved_model.*")})
