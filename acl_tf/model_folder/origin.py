"""The commit on the Hub that a model folder comes from."""

import json
from pathlib import Path
from typing import Any

from acl_tf.model_folder.files import ORIGIN
from acl_tf.safety.paths import is_cache_snapshot


def origin_of(folder: Path) -> dict[str, Any] | None:
    """Returns `repo_id`, `revision` (the full SHA) and the rest of `origin.json`; None if not from the Hub.

    Args:
        folder: Model folder: one that `acl-tf pull` wrote, a snapshot in the cache, or any other.

    Raises:
        ValueError: If `origin.json` is not JSON.
    """
    if is_cache_snapshot(folder):
        repo_id = folder.parent.parent.name.removeprefix("models--").replace("--", "/")
        return {"repo_id": repo_id, "revision": folder.name}
    if (folder / ORIGIN).is_file():
        return json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    return None
