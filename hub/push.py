"""From a model folder to the Hub: one commit, then the tag."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acl_tf.errors import HubError
from acl_tf.hub.failures import explained
from acl_tf.hub.names import HubName
from acl_tf.hub.patience import persistently
from acl_tf.model_folder.card import card, merged, users_text, without_local_paths
from acl_tf.model_folder.files import CARD, CONFIG, ORIGIN
from acl_tf.model_folder.manifest import MANIFEST, FileEntry, manifest_text, read_manifest, verify
from acl_tf.model_folder.safety import check_keras_model, check_saved_models
from acl_tf.records import RECORDS, read_file

if TYPE_CHECKING:
    import huggingface_hub as hf
    from huggingface_hub.hf_api import ModelInfo

PRECONDITION_FAILED = 412  # of HTTP: the parent of a commit is not the newest one any more

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A model on the Hub.

    Attributes:
        name: Its revision is the full SHA of the commit.
        url: URL of the commit.
        uploaded: Whether there was anything to upload.
    """

    name: HubName
    url: str
    uploaded: bool


def push(
    folder: Path, repo_id: str, private: bool = False, tag: str | None = None, message: str | None = None
) -> Published:
    """Publishes a model folder in one commit; the same content again makes none.

    The repository is made where there is none. Files that an earlier push left and that the model does not have any
    more are removed; others in the repository stay. The card is made anew, around what the user wrote into it: in the
    folder, or else on the Hub.

    Args:
        folder: The model folder, which is not changed.
        repo_id: `user/name`.
        private: Whether only the user may see it. A repository that is public is not made private.
        tag: Tag of the commit; None: no tag.
        message: Message of the commit.

    Raises:
        ModelFolderError: If a file of the folder is not as the manifest says.
        HubError: If the Hub cannot be reached or refuses, if the tag is taken, or if somebody else pushed meanwhile.
        UnsafeModelError: If the folder holds what others would refuse to load.
    """
    import huggingface_hub as hf
    from huggingface_hub import constants

    verify(folder)
    check_keras_model(folder)
    check_saved_models(folder)
    if constants.HF_HUB_OFFLINE:
        raise HubError("Offline mode is on (HF_HUB_OFFLINE), so nothing can be published.")
    api = hf.HfApi()
    with explained(HubName(repo_id)):
        persistently(api.create_repo, repo_id, private=private or None, exist_ok=True)
        head = persistently(api.model_info, repo_id, files_metadata=True)
        if private and not head.private:
            raise HubError(
                f"{repo_id} is public, and --private does not change that: make it private in its settings on "
                f"{constants.ENDPOINT}, or choose another name. Nothing was uploaded."
            )
        files = contents(folder, repo_id, _on_hub(head, CARD))
        before = _on_hub(head, MANIFEST)
        tagged = _tagged(api, repo_id, tag)
        if tagged and (tagged != head.sha or before != files[MANIFEST]):
            raise HubError(f"The tag {tag} of {repo_id} is that of another commit, {tagged}; choose a new one.")
        sha = _commit(head, files, before, message or f"Publish by acl-tf{f', {tag}' if tag else ''}")
        if tag and not tagged:
            persistently(api.create_tag, repo_id, tag=tag, revision=sha, exist_ok=True)
    url = f"{constants.ENDPOINT}/{repo_id}/commit/{sha}"
    return Published(HubName(repo_id, sha), url, uploaded=sha != head.sha)


def contents(folder: Path, repo_id: str, card_on_hub: bytes | None = None) -> dict[str, Path | bytes]:
    """Returns what a model folder looks like on the Hub: the files of its manifest, but for three of them.

    The card names the repository, the configuration no folders of this machine, and the manifest is of all that.

    Args:
        folder: The model folder.
        repo_id: `user/name`.
        card_on_hub: The one that is there already.

    Returns:
        `path → file, or its content`.
    """
    entries = read_manifest(folder / MANIFEST)
    entries.pop(ORIGIN, None)  # says where this folder is from, not where it goes
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config = {**config, "recipe": without_local_paths(config.get("recipe") or {})}
    records = read_file(folder / RECORDS) if RECORDS in entries else []
    here = (folder / CARD).read_text(encoding="utf-8", errors="replace") if CARD in entries else ""
    there = (card_on_hub or b"").decode(errors="replace")
    if users_text(here) and users_text(there) and users_text(here) != users_text(there):
        logger.warning("What you wrote into %s of the folder replaces what is in that of %s.", CARD, repo_id)
    texts = {
        CONFIG: json.dumps(config, indent=2) + "\n",
        CARD: card(config, records, repo_id, merged(there, here)),
    }
    made = {name: text.encode() for name, text in texts.items()}
    entries |= {name: FileEntry(len(content), hashlib.sha256(content).hexdigest()) for name, content in made.items()}
    return {**{name: folder / name for name in entries}, **made, MANIFEST: manifest_text(entries).encode()}


def _commit(head: "ModelInfo", files: Mapping[str, Path | bytes], before: bytes | None, message: str) -> str:
    """Makes one commit of all changes on the one that was looked at; returns its SHA, or that one's without changes.

    Where the answer is lost and the client asks again, the Hub says that it has moved on: perhaps by this very commit.
    """
    import huggingface_hub as hf
    from huggingface_hub import errors

    operations = [*_additions(files), *_deletions(head, before, files)]
    try:
        return persistently(
            hf.HfApi().create_commit,
            head.id,
            operations=operations,
            commit_message=message,
            parent_commit=head.sha,
        ).oid
    except errors.HfHubHTTPError as error:
        if error.response is None or error.response.status_code != PRECONDITION_FAILED:
            raise
        now = persistently(hf.HfApi().model_info, head.id, files_metadata=True)
        if _on_hub(now, MANIFEST) != files[MANIFEST]:
            raise
        return str(now.sha)


def _on_hub(head: "ModelInfo", name: str) -> bytes | None:
    """Returns the content of a file in the repository, or None where there is none."""
    import huggingface_hub as hf

    if name not in {sibling.rfilename for sibling in head.siblings or []}:
        return None
    return Path(hf.hf_hub_download(head.id, name, revision=head.sha)).read_bytes()


def _tagged(api: "hf.HfApi", repo_id: str, tag: str | None) -> str | None:
    """Returns the commit that a tag is of, or None where there is no such tag."""
    tags = persistently(api.list_repo_refs, repo_id).tags if tag else []
    return next((ref.target_commit for ref in tags if ref.name == tag), None)


def _additions(files: Mapping[str, Path | bytes]) -> "list[hf.CommitOperationAdd]":
    """Returns all files; the client leaves out those that the repository has."""
    import huggingface_hub as hf

    return [hf.CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in sorted(files.items())]


def _deletions(
    head: "ModelInfo", manifest: bytes | None, files: Mapping[str, Path | bytes]
) -> "list[hf.CommitOperationDelete]":
    """Returns the files of the model that was there before and that this one does not have."""
    import huggingface_hub as hf

    present = {sibling.rfilename for sibling in head.siblings or []}
    try:
        before = set(json.loads(manifest)["files"]) if manifest else set()
    except (ValueError, LookupError, TypeError):
        logger.warning("The manifest of %s is damaged; files that are no longer the model's stay there.", head.id)
        before = set()
    return [hf.CommitOperationDelete(path_in_repo=name) for name in sorted((before & present) - set(files))]
