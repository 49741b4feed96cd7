"""From a MODEL argument to a model folder, and what its small files say; neither TensorFlow nor Keras is needed."""

import contextlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from acl_tf.errors import HubError, ModelFolderError, UsageError
from acl_tf.files import tidy
from acl_tf.hub.names import hub_name
from acl_tf.hub.origin import origin_of
from acl_tf.hub.pull import Snapshot, fetch
from acl_tf.manifest import MANIFEST
from acl_tf.model_files import CONFIG, MODEL_FILES
from acl_tf.records import RECORDS, Record, read_file


def find_model_folder(model: str | Path, files: Collection[str] | None = MODEL_FILES) -> Path:
    """Returns the model folder that a MODEL names: a run folder, a model folder, or `user/name[@revision]` on the Hub.

    Args:
        model: As the user gave it. What is on disk goes before what is on the Hub.
        files: Which ones to download from the Hub; None: all.

    Returns:
        The folder; of a model on the Hub, its snapshot in the cache, which is not to be written to.

    Raises:
        ModelFolderError: If there is none on disk.
        HubError: If there is none on the Hub, or it cannot be reached.
    """
    snapshot = find_on_hub(str(model), files)
    if snapshot:
        return snapshot.folder
    folder = Path(model).expanduser()
    for candidate in (folder, folder / "model"):
        if not (candidate / MANIFEST).is_file():
            with contextlib.suppress(OSError):
                tidy(candidate)  # a process may be exchanging the folder for another, or was killed when it did
        if (candidate / MANIFEST).is_file():
            return candidate
    if (folder / "checkpoints").is_dir():
        raise ModelFolderError(
            f"The run {folder} has no model yet: finish it by acl-tf pretrain --resume --output {folder}"
        )
    raise ModelFolderError(f"No model folder and no run. Received: {str(model)!r}")


def find_on_hub(model: str, files: Collection[str] | None = MODEL_FILES) -> Snapshot | None:
    """Returns the files of a model on the Hub, or None where a MODEL names something on disk.

    Args:
        model: As the user gave it.
        files: Which ones to download; None: all.

    Raises:
        HubError: If there is none, or the Hub cannot be reached.
    """
    name = hub_name(model)
    try:
        return fetch(name, files) if name else None
    except HubError as error:
        raise HubError(f"No folder {model!r} is here, and on the Hub it is not to be had. {error}") from error


def of_revision(model: str, revision: str | None) -> str:
    """Returns a MODEL argument with a revision in it.

    Args:
        model: The argument.
        revision: Of a model on the Hub; None: as the argument says.

    Raises:
        UsageError: If the model is on disk, or names a revision itself.
    """
    if revision is None:
        return model
    if not hub_name(f"{model}@{revision}") or hub_name(model) != hub_name(model.split("@")[0]):
        raise UsageError(
            f"A revision is one of a model on the Hub, user/name. Received: {model!r} with revision {revision!r}"
        )
    return f"{model}@{revision}"


def read_config(folder: Path) -> dict[str, Any]:
    """Returns `config.json` of a model folder; with its `origin`, where that is the Hub.

    Raises:
        ModelFolderError: If it is no JSON object.
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
        raise ModelFolderError(f"{folder / CONFIG} is damaged: its classes are no list of names.")
    return {**config, "origin": origin} if origin else config


def read_records(folder: Path) -> list[Record]:
    """Returns the records of a model folder; none where nothing was measured."""
    return read_file(folder / RECORDS) if (folder / RECORDS).exists() else []
