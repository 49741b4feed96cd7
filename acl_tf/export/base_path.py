"""The base path of a model in TF Serving: a folder with a numbered SavedModel for each version."""

from pathlib import Path

from acl_tf.client.address import LARGEST_VERSION
from acl_tf.errors import UsageError
from acl_tf.export.saved_model import export_saved_model, export_trainable_saved_model
from acl_tf.export.served import ServedModel
from acl_tf.files import folder_atomically, locked


def add_version(base_path: Path, version: int | None, served: ServedModel, trainable: bool = False) -> Path:
    """Writes a SavedModel to `base_path/version/`; a server that watches the base path sees all of it or nothing.

    Args:
        base_path: Base path of the model; need not exist.
        version: Number of the version; None: one more than the newest in the base path.
        served: Model to export.
        trainable: Whether the SavedModel can be fine-tuned after loading.

    Returns:
        The path of the SavedModel.

    Raises:
        UsageError: If the version exists already, if its number is too large for TF Serving, or if the base path is a
            file.
    """
    if base_path.is_file():
        raise UsageError(f"The base path of a served model is a folder. Received: {str(base_path)!r}, a file")
    write = export_trainable_saved_model if trainable else export_saved_model
    with locked(base_path / "versions"):  # inside it, because the folder around it may not be writable
        present = version_numbers(base_path)
        number = version or max(present, default=0) + 1
        if number > LARGEST_VERSION:
            raise UsageError(f"A version is at most 2**63 - 1; choose one by --version. Received: {number}")
        if number in present:
            raise UsageError(
                f"{base_path} has this version already, and a server may be serving it; choose another, or none for "
                f"{max(present) + 1}. Received: --version {number}"
            )
        with folder_atomically(base_path / str(number)) as folder:
            write(served.model, folder, served.kind)
    return base_path / str(number)


def version_numbers(base_path: Path) -> set[int]:
    """Returns the numbers of the versions in a base path, without those beyond 64 bits, which TF Serving ignores."""
    folders = base_path.iterdir() if base_path.is_dir() else ()
    numbers = {int(folder.name) for folder in folders if folder.name.isascii() and folder.name.isdecimal()}
    return {number for number in numbers if number <= LARGEST_VERSION}
