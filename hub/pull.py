"""From the Hub to the cache or a folder: the files of one commit, each checked against the manifest."""

import datetime
import functools
import json
import logging
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acl_tf.errors import HubError, UnsafeModelError, UsageError
from acl_tf.files import folder_atomically, locked, sha256
from acl_tf.hub.failures import explained
from acl_tf.hub.names import HubName
from acl_tf.hub.patience import persistently
from acl_tf.model_folder.files import CARD, ORIGIN
from acl_tf.model_folder.manifest import MANIFEST, FileEntry, read_manifest, verify, write_manifest
from acl_tf.model_folder.safety import check_keras_model, check_saved_models, saved_models
from acl_tf.safety.paths import MAX_BYTES, MAX_TEXT_BYTES
from acl_tf.safety.saved_model import read_contents
from acl_tf.versions import __version__

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """Files of one commit, in the cache.

    Attributes:
        name: Of the model; its revision is the full SHA of the commit.
        folder: Is not written to.
    """

    name: HubName
    folder: Path


def pull(name: HubName, destination: Path, trust: bool = False) -> Snapshot:
    """Downloads a model into a folder of its own.

    Args:
        name: Of the model.
        destination: The folder, which must not be there, or be empty. It holds plain files, and `origin.json`: which
            commit they are of.
        trust: Whether a SavedModel may hold operations that are not known to be harmless; `origin.json` says which.

    Raises:
        HubError: If the Hub cannot be reached, or refuses.
        ModelFolderError: If a file is not the manifest's.
        UnsafeModelError: If the model would do more than compute.
        UsageError: If the folder is taken.
    """
    place = destination.resolve()
    _check_free(place, destination)
    snapshot = fetch(name)
    findings: list[str] = []
    if trust:
        findings = _trusted(snapshot.folder)
    else:
        check(snapshot.folder)
    origin = {
        "repo_id": snapshot.name.repo_id,
        "revision": snapshot.name.revision,
        "requested": name.revision,
        "manifest_sha256": sha256(snapshot.folder / MANIFEST),
        "trusted": findings,
        "acl_tf": __version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    try:
        with locked(place):
            _check_free(place, destination)  # another process may have been faster
            with folder_atomically(place) as folder:
                _copy(snapshot.folder, folder)
                (folder / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
                write_manifest(folder)
    except OSError as error:
        raise HubError(
            f"{destination} cannot be written: {error.strerror or error}; what is in the cache stays."
        ) from error
    return snapshot


def fetch(name: HubName, files: Collection[str] | None = None) -> Snapshot:
    """Downloads files of one commit into the cache, where they are not there yet, and compares all with the manifest.

    The Hub is asked each time, so that a token that is wrong or no longer valid is an error even where the cache has
    everything; only with `HF_HUB_OFFLINE=1` is it not.

    Args:
        name: Of the model.
        files: Which ones; those that the model does not have are left out. None: all that the manifest names.

    Raises:
        HubError: If the Hub cannot be reached, or refuses, or if what it has is not what the manifest says.
        ModelFolderError: If a file in the cache is not the manifest's.
    """
    import huggingface_hub as hf
    from huggingface_hub import constants

    with explained(name, "HF_HUB_OFFLINE=1 takes what is in the cache."):
        if constants.HF_HUB_OFFLINE:
            pinned, info = _cached(name), None
        else:
            look = functools.partial(hf.HfApi().model_info, files_metadata=True)
            info = persistently(look, name.repo_id, revision=name.revision)
            pinned = HubName(name.repo_id, info.sha)
            sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
            if sizes.get(MANIFEST, 0) > MAX_TEXT_BYTES:
                raise UnsafeModelError(f"{MANIFEST} in {name} is too large to be one; nothing was downloaded of it.")
            if name.revision != info.sha:
                # Notes in the cache which commit the branch or tag is, for when there is no network.
                persistently(hf.snapshot_download, name.repo_id, revision=name.revision, allow_patterns=[MANIFEST])
        manifest = Path(hf.hf_hub_download(name.repo_id, MANIFEST, revision=pinned.revision))
        entries = read_manifest(manifest)
        wanted = [file for file in entries if files is None or file in files]
        if info:
            _compare_listed(info, {file: entries[file] for file in wanted}, name)
        patterns = [MANIFEST, *wanted]
        folder = persistently(hf.snapshot_download, name.repo_id, revision=pinned.revision, allow_patterns=patterns)
    snapshot = Snapshot(pinned, Path(folder))
    for file in wanted:
        if not (snapshot.folder / file).is_file():
            cache = constants.HF_HUB_CACHE
            raise HubError(f"Offline mode is on (HF_HUB_OFFLINE), and {file} of {pinned} is not in the cache, {cache}.")
    verify(snapshot.folder)
    return snapshot


def check(folder: Path) -> None:
    """Checks that nothing of a model folder would do more than compute.

    Raises:
        UnsafeModelError: If something would.
    """
    check_keras_model(folder)
    check_saved_models(folder)


def _check_free(place: Path, destination: Path) -> None:
    if place == Path.cwd():
        raise UsageError(
            "The folder that you are in cannot be exchanged for another; name one that is not there yet. "
            f"Received: {str(destination)!r}"
        )
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        raise UsageError(f"The folder holds something already; choose another. Received: {str(destination)!r}")


def _copy(snapshot: Path, folder: Path) -> None:
    """Copies the files of the manifest, not the links by which the cache holds them."""
    for file in read_manifest(snapshot / MANIFEST):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(snapshot / file, folder / file)


def _trusted(folder: Path) -> list[str]:
    """Returns what speaks against the SavedModels, which are let through; the Keras model is checked as ever."""
    check_keras_model(folder)
    places = {place: read_contents(place).findings for place in saved_models(folder)}
    found = [f"{place.relative_to(folder)}: {finding}" for place, findings in places.items() for finding in findings]
    for finding in found:
        logger.warning("Trusted, as --trust says: %s", finding)
    return found


def _cached(name: HubName) -> HubName:
    """Returns the commit that the cache knows a revision by."""
    import huggingface_hub as hf
    from huggingface_hub import constants

    manifest = hf.try_to_load_from_cache(name.repo_id, MANIFEST, revision=name.revision)
    if not isinstance(manifest, str):
        raise HubError(
            f"Offline mode is on (HF_HUB_OFFLINE), and {name} is not in the cache, {constants.HF_HUB_CACHE}."
        )
    return HubName(name.repo_id, Path(manifest).parent.name)


def _compare_listed(info: "ModelInfo", entries: dict[str, FileEntry], name: HubName) -> None:
    """Compares what the Hub lists with the manifest, so that a wrong or huge file is not even downloaded."""
    listed = {sibling.rfilename: sibling for sibling in info.siblings or []}
    for file, entry in entries.items():
        if entry.size > MAX_BYTES:
            raise UnsafeModelError(f"{file} in {name} is too large for a model; nothing was downloaded of it.")
        if file not in listed:
            raise HubError(f"{file} is missing in {name}, although its manifest names it; nothing of it was used.")
        size, lfs = listed[file].size, listed[file].lfs
        if (size is not None and size != entry.size) or (lfs is not None and lfs.sha256 != entry.sha256):
            edited = " Its owner can mend a card that was edited there by acl-tf push." if file == CARD else ""
            raise HubError(f"{file} in {name} is not the file that its manifest names; nothing of it was used.{edited}")
