"""Checks of a `.keras` file, made before Keras opens it."""

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from acl_tf.errors import UnsafeModelError
from acl_tf.safety.paths import MAX_BYTES, MAX_TEXT_BYTES, check_size

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
MEMBERS = {CONFIG, "metadata.json", WEIGHTS}
MAX_DEPTH = 32  # of nested groups in the weights
ENCRYPTED = 1  # flag bit of a member of a zip file

# Modules in which Keras looks up its own layers and their parts.
MODULES = {
    "keras",
    "keras.activations",
    "keras.constraints",
    "keras.initializers",
    "keras.layers",
    "keras.regularizers",
    "keras.src.models.functional",
    "keras.src.models.sequential",
}
# Keras layers that run code from the file, or read other files.
FORBIDDEN = {
    "FlaxLayer",
    "IntegerLookup",
    "JaxLayer",
    "Lambda",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
}
# With a dot, a name would reach modules other than the one given with it; "function" is any function in a module.
CLASS_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
# Values, not classes.
PLAIN = {"__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__"}


def check_keras_file(path: Path) -> None:
    """Checks that a `.keras` file holds only built-in layers and weights, and neither runs nor reads anything else.

    Keras' safe mode refuses Python code; this also refuses everything else that a class name can reach: registered
    classes of this process, layers that read files or load SavedModels, HDF5 links to other files.

    Args:
        path: Path of the file.

    Raises:
        UnsafeModelError: If the file holds anything that Keras does not write for a model of built-in layers.
    """
    if not path.is_file():
        raise UnsafeModelError(f"{path} is not a .keras file: it is not a file.")
    entries = _entries(path)
    classes = sorted(_classes(entries), key=str)
    # A registered name does not keep Keras from importing the module.
    behind = [(str(entry.get("module")), str(entry["class_name"])) for entry in entries]
    for _, name in classes:
        if name in FORBIDDEN:
            raise UnsafeModelError(
                f"{path} holds a layer that runs code or reads files; it was not loaded. Received: {name}"
            )
    for module, name in (*classes, *behind):
        if module not in MODULES or not CLASS_NAME.fullmatch(name):
            raise UnsafeModelError(
                f"{path} is not a Keras model of built-in layers; it was not loaded. Received: {module}.{name}"
            )
    for entry in entries:
        if entry.get("registered_name") not in (None, entry["class_name"]):
            raise UnsafeModelError(
                f"{path} names a registered class; it was not loaded. Received: {entry['registered_name']!r}"
            )
    for text in _strings(_config(path)):
        if ">" in text:  # Keras looks up whatever was registered under "package>name"
            raise UnsafeModelError(f"{path} names a registered class; it was not loaded. Received: {text!r}")
    with _open_archive(path) as archive, archive.open(WEIGHTS) as weights:
        _check_weights(path, weights)


def classes_of(path: Path) -> set[tuple[str, str]]:
    """Returns module and name of every class that a `.keras` file names.

    For a class with a registered name, that name stands in place of the module, because the process that opens the
    file may have registered it.

    Args:
        path: Path of the file.

    Raises:
        UnsafeModelError: If the file is not a `.keras` file.
    """
    return _classes(_entries(path))


def _classes(entries: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(_module(entry), str(entry["class_name"])) for entry in entries}


def _entries(path: Path) -> list[dict[str, Any]]:
    """Returns every JSON object from which Keras would make an object of a class."""
    try:
        return [entry for entry in _objects(_config(path)) if entry["class_name"] not in PLAIN]
    except (RecursionError, TypeError) as error:
        raise UnsafeModelError(f"{path} is damaged: its {CONFIG} describes no model.") from error


def _config(path: Path) -> dict[str, Any]:
    with _open_archive(path) as archive:
        try:
            config = json.loads(archive.read(CONFIG))
        except (ValueError, RecursionError) as error:
            raise UnsafeModelError(f"{path} is damaged: its {CONFIG} is not JSON ({error}).") from error
        except zipfile.BadZipFile as error:
            raise UnsafeModelError(f"{path} is damaged: {error}.") from error
    if not isinstance(config, dict):
        raise UnsafeModelError(f"{path} is damaged: its {CONFIG} describes no model.")
    # It is not used: models are loaded without being compiled.
    config.pop("compile_config", None)
    return config


def _open_archive(path: Path) -> zipfile.ZipFile:
    check_size(path)
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UnsafeModelError(f"{path} is not a .keras file: {error}") from error
    members = archive.infolist()
    names = Counter(member.filename for member in members)
    odd = [name for name, count in names.items() if name not in MEMBERS or count > 1] or sorted(MEMBERS - names.keys())
    if odd:
        raise UnsafeModelError(f"{path} has other contents than a .keras file of built-in layers. Received: {odd[0]!r}")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & ENCRYPTED:
            raise UnsafeModelError(f"{path} is compressed, as Keras does not write it. Received: {member.filename!r}")
        if member.file_size > (MAX_BYTES if member.filename == WEIGHTS else MAX_TEXT_BYTES):
            raise UnsafeModelError(f"{path} unpacks to more than a model holds. Received: {member.filename!r}")
    return archive


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yields every JSON object from which Keras would make a Python object."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for part in value.values():
            yield from _objects(part)
    elif isinstance(value, list):
        for part in value:
            yield from _objects(part)


def _strings(value: Any) -> Iterator[str]:
    """Yields every string, except the keys of objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _module(entry: dict[str, Any]) -> str:
    registered = entry.get("registered_name")
    return str(entry.get("module") if registered in (None, entry["class_name"]) else registered)


def _check_weights(path: Path, weights: Any) -> None:
    """Checks that an HDF5 file is complete and refers to no other file."""

    def check(group: h5py.Group) -> int:
        """Checks everything in a group and returns its size in bytes."""
        if group.name.count("/") > MAX_DEPTH:
            raise UnsafeModelError(f"{path} has weights in groups that hold each other. Received: {group.name[:40]}...")
        size = 0
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise UnsafeModelError(f"{path} has weights that are a link elsewhere. Received: {group.name}/{name}")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                size += check(entry)
            elif not isinstance(entry, h5py.Dataset):
                raise UnsafeModelError(f"{path} has weights that are not numbers. Received: {group.name}/{name}")
            elif entry.external or entry.is_virtual:
                raise UnsafeModelError(f"{path} has weights that lie in another file. Received: {entry.name}")
            else:
                size += entry.nbytes
            if size > MAX_BYTES:
                raise UnsafeModelError(f"{path} unpacks to more than a model holds. Received: {WEIGHTS}{entry.name}")
        return size

    try:
        with h5py.File(weights, "r") as file:
            check(file)
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise UnsafeModelError(f"{path} is damaged: its {WEIGHTS} cannot be read ({error}).") from error
