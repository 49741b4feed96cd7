"""Inspection of a model without loading it, and whether acl-tf would load it."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acl_tf.errors import AclTfError, ModelFolderError
from acl_tf.files import sha256
from acl_tf.model_folder.files import FILES, MODEL
from acl_tf.model_folder.locate import find_on_disk, read_config, read_records
from acl_tf.model_folder.manifest import MANIFEST, read_manifest, verify
from acl_tf.model_folder.safety import saved_models
from acl_tf.records import Record
from acl_tf.safety.keras_file import check_keras_file, classes_of
from acl_tf.safety.paths import check_files
from acl_tf.safety.saved_model import FILE, SavedModelContents, read_contents


@dataclass
class Inspection:
    """The results of an inspection.

    Attributes:
        path: Path of the model.
        config: Content of `config.json`; empty if there is none.
        records: Evaluation records.
        files: Files of the manifest, or a lone file: `relative path → (size in bytes, SHA-256)`.
        layers: Classes in the Keras models: `name → number of files`.
        saved_models: SavedModels: `relative path → contents`.
        unread: Files that acl-tf does not know and does not load.
        findings: Reasons to refuse the model; empty if it would be loaded.
    """

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    layers: Counter[str] = field(default_factory=Counter)
    saved_models: dict[str, SavedModelContents] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def collecting_findings(self) -> Iterator[None]:
        """Turns an error in the block into a finding."""
        try:
            yield
        except AclTfError as error:
            self.findings += [str(error)] if str(error) not in self.findings else []


def inspect_model(model: str | Path) -> Inspection:
    """Inspects a model without loading or running any of it.

    Args:
        model: Run folder, model folder, `.keras` file, SavedModel, or base path of a SavedModel in TF Serving.

    Raises:
        ModelFolderError: If there is no such model.
    """
    path = Path(model).expanduser()
    if path.suffix == ".keras":
        return _keras_file(path)
    served = [file for file in path.glob(f"*/{FILE}") if file.parent.name.isdecimal()]
    if not (path / MANIFEST).exists() and (served or any(path.glob("saved_model.*"))):
        return _saved_models(path)
    return _model_folder(find_on_disk(model))


def _keras_file(path: Path) -> Inspection:
    if not path.is_file():
        raise ModelFolderError(f"No such file. Received: {str(path)!r}")
    inspection = Inspection(path)
    with inspection.collecting_findings():
        _add_keras_file(inspection, path)
        inspection.files[path.name] = (path.stat().st_size, sha256(path))
    return inspection


def _saved_models(path: Path) -> Inspection:
    inspection = Inspection(path)
    with inspection.collecting_findings():
        check_files(path)
    if not inspection.findings:
        _add_saved_models(inspection, path)
    return inspection


def _model_folder(folder: Path) -> Inspection:
    inspection = Inspection(folder)
    with inspection.collecting_findings():
        check_files(folder)
    if inspection.findings:
        return inspection  # a link may lead anywhere, and a pipe never ends
    with inspection.collecting_findings():
        entries = read_manifest(folder / MANIFEST)
        inspection.files = {name: (entry.size, entry.sha256) for name, entry in entries.items()}
        verify(folder)
    with inspection.collecting_findings():
        inspection.config = read_config(folder)
    with inspection.collecting_findings():
        inspection.records = read_records(folder)
    for file in sorted({folder / MODEL, *folder.rglob("*.keras")}):
        with inspection.collecting_findings():
            _add_keras_file(inspection, file)
    _add_saved_models(inspection, folder)
    _add_unread(inspection, folder)
    return inspection


def _add_keras_file(inspection: Inspection, path: Path) -> None:
    if not path.is_file():
        raise ModelFolderError(f"{path} is missing.")
    inspection.layers.update(name for _, name in classes_of(path))
    check_keras_file(path)


def _add_unread(inspection: Inspection, folder: Path) -> None:
    within = [folder / place for place in inspection.saved_models]
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        known = file.suffix == ".keras" or file in {folder / name for name in (MANIFEST, *FILES)}
        if not known and not any(file.is_relative_to(place) for place in within):
            inspection.unread.append(file.relative_to(folder).as_posix())


def _add_saved_models(inspection: Inspection, folder: Path) -> None:
    for place in saved_models(folder):
        with inspection.collecting_findings():
            contents = read_contents(place)
            inspection.saved_models[place.relative_to(folder).as_posix()] = contents
            inspection.findings += [f"{place / FILE}: {finding}" for finding in contents.findings]
