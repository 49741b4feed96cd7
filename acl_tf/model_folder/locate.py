"""Model folders on disk, and their configuration and records; neither TensorFlow nor Keras is needed."""

import contextlib
import json
from pathlib import Path
from typing import Any

from acl_tf.errors import ModelFolderError
from acl_tf.files import tidy
from acl_tf.model_folder.files import CONFIG
from acl_tf.model_folder.manifest import MANIFEST
from acl_tf.model_folder.origin import origin_of
from acl_tf.records import RECORDS, Record, read_file


def find_on_disk(model: str | Path) -> Path:
    """Returns the model folder that a MODEL argument names: the model folder of a run folder, or the folder itself.

    Args:
        model: The argument as the user wrote it.

    Raises:
        ModelFolderError: If there is none.
    """
    folder = Path(model).expanduser()
    for candidate in (folder, folder / "model"):
        if not (candidate / MANIFEST).is_file():
            with contextlib.suppress(OSError):
                tidy(candidate)  # another process may be replacing the folder, or was killed while doing so
        if (candidate / MANIFEST).is_file():
            return candidate
    if (folder / "checkpoints").is_dir():
        raise ModelFolderError(
            f"The run {folder} has no model yet: finish it by acl-tf pretrain --resume --output {folder}"
        )
    raise ModelFolderError(f"No model folder and no run. Received: {str(model)!r}")


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the content of `config.json` in a model folder, with its `origin` if it comes from the Hub.

    Raises:
        ModelFolderError: If it is not the configuration of a model.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        origin = origin_of(folder)
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{folder / CONFIG} is damaged: {error}") from error
    if not isinstance(config, dict) or config.get("kind") not in ("encoder", "classifier"):
        raise ModelFolderError(f"{folder / CONFIG} is damaged: it does not say what kind of model this is.")
    classes = config.get("classes") or []
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ModelFolderError(f"{folder / CONFIG} is damaged: its classes are not a list of names.")
    return {**config, "origin": origin} if origin else config


def read_records(folder: Path) -> list[Record]:
    """Returns the records of a model folder; empty if nothing was measured."""
    return read_file(folder / RECORDS) if (folder / RECORDS).exists() else []
