"""The model folder of a MODEL argument, on disk or on the Hub; neither TensorFlow nor Keras is needed."""

from collections.abc import Collection
from pathlib import Path

from acl_tf.errors import HubError, UsageError
from acl_tf.hub.names import hub_name
from acl_tf.hub.pull import Snapshot, fetch
from acl_tf.model_folder.files import MODEL_FILES
from acl_tf.model_folder.locate import find_on_disk


def find_model(model: str, files: Collection[str] | None = MODEL_FILES) -> Path:
    """Returns the path that a MODEL names: a `.keras` file, or a model folder as in `find_model_folder`."""
    return Path(model).expanduser() if Path(model).suffix == ".keras" else find_model_folder(model, files)


def find_model_folder(model: str | Path, files: Collection[str] | None = MODEL_FILES) -> Path:
    """Returns the model folder that a MODEL names: a run folder, a model folder, or `user/name[@revision]` on the Hub.

    Args:
        model: The argument as the user wrote it. A path on disk takes precedence over a name on the Hub.
        files: Files to download from the Hub; None: all.

    Returns:
        The folder; for a model on the Hub its snapshot in the cache, which must not be written to.

    Raises:
        ModelFolderError: If there is no such model on disk.
        HubError: If there is no such model on the Hub, or the Hub cannot be reached.
    """
    snapshot = find_on_hub(str(model), files)
    if snapshot:
        return snapshot.folder
    return find_on_disk(model)


def find_on_hub(model: str, files: Collection[str] | None = MODEL_FILES) -> Snapshot | None:
    """Returns the files of a model on the Hub, or None if a MODEL names something on disk.

    Args:
        model: The argument as the user wrote it.
        files: Files to download; None: all.

    Raises:
        HubError: If there is no such model, or the Hub cannot be reached.
    """
    name = hub_name(model)
    try:
        return fetch(name, files) if name else None
    except HubError as error:
        raise HubError(f"No folder {model!r} is here, and it cannot be loaded from the Hub. {error}") from error


def of_revision(model: str, revision: str | None) -> str:
    """Returns a MODEL argument with a revision in it.

    Args:
        model: MODEL argument.
        revision: Revision of a model on the Hub; None: the one in the argument, if any.

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
