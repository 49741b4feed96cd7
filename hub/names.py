"""Names of models on the Hub: `user/name`, `user/name@revision`."""

import re
from dataclasses import dataclass
from pathlib import Path

from acl_tf.errors import UsageError

RUNS = "runs"  # folder of run folders without a name from the user

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_NAME = re.compile(rf"(?P<repo_id>{_PART}/{_PART})(@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]*))?")


@dataclass(frozen=True)
class HubName:
    """A model on the Hub.

    Attributes:
        repo_id: Name of the repository, `user/name`.
        revision: Branch, tag or commit; None: the newest.
    """

    repo_id: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.revision}" if self.revision else self.repo_id


def hub_name(model: str) -> HubName | None:
    """Returns the model on the Hub that a MODEL argument names, or None if it names something on disk.

    An argument names something on disk if its path or the first folder of its path exists, or if that is `runs`.

    Args:
        model: The argument as the user wrote it.
    """
    match = _NAME.fullmatch(model)
    first = model.split("/")[0]
    on_disk = Path(model).exists() or Path(first).is_dir() or first == RUNS or model.endswith(".keras")
    return HubName(match["repo_id"], match["revision"]) if match and not on_disk else None


def given_name(text: str) -> HubName:
    """Returns the model on the Hub with a given name, whatever is on disk.

    Raises:
        UsageError: If the name is not `user/name[@revision]`.
    """
    match = _NAME.fullmatch(text)
    if not match:
        raise UsageError(f"A model on the Hub is user/name or user/name@revision. Received: {text!r}")
    return HubName(match["repo_id"], match["revision"])


def tag_name(tag: str) -> str:
    """Returns a tag after checking that a commit can have it, and that `user/name@tag` finds it.

    Raises:
        UsageError: If git would not accept the tag, or if it is the name of a branch.
    """
    plain = _NAME.fullmatch(f"user/name@{tag}")
    if not plain or ".." in tag or "//" in tag or tag == "main" or tag.endswith((".lock", "/", ".")):
        raise UsageError(f"A tag is of letters, digits, '.', '-', '_' and '/', such as v1. Received: {tag!r}")
    return tag


def repository_id(name: str) -> str:
    """Returns the name of a repository, `user/name`, after checking that a model can be published there.

    Raises:
        UsageError: If the name has another form, or names a revision.
    """
    match = _NAME.fullmatch(name)
    if not match or match["revision"] or ".." in name or "--" in name or name.endswith((".git", ".", "-")):
        raise UsageError(
            "A model is published as user/name, of letters, digits, '-', '_' and '.'; "
            f"--tag gives the version. Received: {name!r}"
        )
    return name
