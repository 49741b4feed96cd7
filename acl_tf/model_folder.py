"""The model folder: what a run leaves behind, and what a Hub repository holds."""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf

from acl_tf.errors import ModelFolderError
from acl_tf.export.saved_model import export_saved_model
from acl_tf.files import folder_atomically, locked, sha256, write_atomically
from acl_tf.hub.card import card
from acl_tf.locate import find_model_folder, read_config, read_records
from acl_tf.manifest import verify, write_manifest
from acl_tf.model_files import CARD, CONFIG, ENCODER_FILES, MODEL, PAIRED, SAVED_MODEL
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import ProjectionHead, linear_classifier
from acl_tf.models.paired_model import PairedModel, extract_branch
from acl_tf.records import RECORDS, Record, add_records
from acl_tf.safety.keras_file import check_keras_file
from acl_tf.safety.paths import check_files
from acl_tf.safety.saved_model import check_saved_model, contents
from acl_tf.versions import versions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedModel:
    """What a model folder is made of.

    Attributes:
        encoder: With both branches.
        branch: The one to publish.
        recipe: How it came about: the run's configuration, or where it was imported from.
        projection_head: Where there is one; kept for further pre-training.
        classifier: A dense layer on the features, where there is one: then the folder is a classifier's.
        classes: Names of the classes of a classifier.
    """

    encoder: Encoder
    branch: Branch
    recipe: Mapping[str, Any]
    projection_head: ProjectionHead | None = None
    classifier: keras.layers.Dense | None = None
    classes: tuple[str, ...] = ()


def write_model_folder(path: Path, trained: TrainedModel, records: Sequence[Record] = ()) -> None:
    """Writes a model folder, whole or not at all; it takes the place of one that is there.

    Args:
        path: Of the folder.
        trained: What goes into it.
        records: What is known of its accuracy; each gets the SHA-256 of the model.
    """
    with locked(path), folder_atomically(path) as folder:
        model, config = published_model(trained), _config(trained)
        model.save(folder / MODEL)
        export_saved_model(model, folder / SAVED_MODEL, config["kind"])
        _save_weights(folder / PAIRED, trained)
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        digest = sha256(folder / MODEL)
        _add(folder, [{**record, "model_sha256": digest} for record in records])


def add_to_model_folder(folder: Path, records: Sequence[Record]) -> None:
    """Adds records to a model folder; whoever looks sees it before or after, with a manifest that fits.

    Several processes may do so at once.

    Args:
        folder: The model folder.
        records: What was measured of its model.

    Raises:
        OSError: If it cannot be written to.
    """
    folder = folder.resolve()  # of a symbolic link, the target is what gets the records
    with locked(folder), folder_atomically(folder) as copy:
        shutil.copytree(folder, copy, copy_function=_link, dirs_exist_ok=True)
        _add(copy, records)


def published_model(trained: TrainedModel) -> keras.Model:
    """Returns the plain Keras model of the published branch: features of an encoder, logits of a classifier."""
    name = f"{trained.encoder.arch}_{trained.branch}".replace("-", "_")
    encoder = extract_branch(trained.encoder, trained.branch, name)
    if trained.classifier is None:
        return encoder
    classifier = linear_classifier(encoder, trained.classifier.units)
    classifier.get_layer("fc").set_weights(trained.classifier.get_weights())
    return classifier


def load_model(model: str | Path) -> keras.Model:
    """Loads the published model; see `acl_tf.load`."""
    if Path(model).suffix == ".keras":
        loaded = _load_keras(Path(model).expanduser())
        loaded.config, loaded.records = {}, []
        return loaded
    folder = find_model_folder(model)
    verify(folder)
    loaded = _load_keras(folder / MODEL)
    loaded.config = read_config(folder)
    loaded.records = read_records(folder)
    return loaded


def load_saved_model(model: str | Path, trust: bool = False) -> Any:
    """Loads a SavedModel; see `acl_tf.load_saved_model`."""
    path = Path(model).expanduser()
    if any(path.glob("saved_model.*")):
        check_files(path)
    else:
        folder = find_model_folder(model, files=None)
        verify(folder)
        path = folder / SAVED_MODEL
    if trust:
        for finding in contents(path).findings:
            logger.warning("Trusted, as the caller says: %s: %s", path, finding)
    else:
        check_saved_model(path)
    return tf.saved_model.load(str(path))


def load_encoder(model: str | Path) -> Encoder:
    """Loads the encoder with both branches, for further training.

    Args:
        model: A run or model folder, or a model on the Hub.

    Raises:
        ModelFolderError: If the folder is missing, incomplete, or differs from its manifest.
    """
    folder = find_model_folder(model, ENCODER_FILES)
    verify(folder)
    config = read_config(folder)
    with _described(folder):
        encoder = Encoder(
            config["arch"],
            width=config["width"],
            stem=config["stem"],
            image_shape=config["input_shape"],
            batch_norm=config["batch_norm"],
            mean=config["mean"],
            std=config["std"],
            synchronized=True,
        )
    _load_weights(folder / PAIRED, "encoder", encoder)
    return encoder


def load_projection_head(model: str | Path) -> ProjectionHead | None:
    """Loads the projection head, or None where the folder has none; raises as `load_encoder`."""
    folder = find_model_folder(model, ENCODER_FILES)
    verify(folder)
    config = read_config(folder)
    with _described(folder):
        if config["projection_head"] is None:
            return None
        head = ProjectionHead(**config["projection_head"], batch_norm=config["batch_norm"])
    _load_weights(folder / PAIRED, "projection_head", head)
    return head


def _add(folder: Path, records: Sequence[Record]) -> None:
    """Adds records, and makes what depends on them anew: the card and the manifest."""
    if records:
        add_records(folder / RECORDS, records)
    previous = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).exists() else ""
    write_atomically(folder / CARD, card(read_config(folder), read_records(folder), previous=previous))
    write_manifest(folder)


def _link(source: str, target: str) -> None:
    """Makes a file appear in a second place; copies it where the file system knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _config(trained: TrainedModel) -> dict[str, Any]:
    encoder, head = trained.encoder, trained.projection_head
    return {
        "kind": "encoder" if trained.classifier is None else "classifier",
        "arch": encoder.arch,
        "width": encoder.width,
        "stem": encoder.stem,
        "input_shape": list(encoder.image_shape),
        "features": encoder.feature_dim,
        "classes": list(trained.classes) if trained.classifier is not None else None,
        "branch": str(trained.branch),
        "batch_norm": encoder.batch_norm,
        "projection_head": {"input_dim": head.input_dim, "blocks": head.blocks} if head else None,
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "recipe": dict(trained.recipe),
        "versions": versions(),
    }


def _save_weights(path: Path, trained: TrainedModel) -> None:
    parts = {"encoder": trained.encoder, "projection_head": trained.projection_head}
    arrays: dict[str, np.ndarray] = {}
    for part, model in parts.items():
        arrays |= {f"{part}/{name}": variable.numpy() for name, variable in _named_weights(model).items()}
    if trained.classifier is not None:
        kernel, bias = trained.classifier.get_weights()
        arrays |= {"classifier/fc/kernel": kernel, "classifier/fc/bias": bias}
    # safetensors writes other memory layouts wrong, without a word.
    contiguous = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    path.write_bytes(safetensors.numpy.save(contiguous, metadata={"format": "acl_tf"}))


def _named_weights(model: PairedModel | None) -> dict[str, keras.Variable]:
    """Returns the weights by `layer/…/variable`; input normalisation is part of the configuration."""
    layers = model.standard_graph.layers if model is not None else []
    return {
        variable.path: variable
        for layer in layers
        if not isinstance(layer, keras.layers.Normalization)
        for variable in layer.weights
    }


@contextlib.contextmanager
def _described(folder: Path) -> Iterator[None]:
    """Says of what fails in the block that the configuration is to blame."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{folder / CONFIG} is damaged: it describes no model ({error!r}).") from error


def _load_weights(path: Path, part: str, model: PairedModel) -> None:
    variables = _named_weights(model)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = {name.removeprefix(f"{part}/") for name in file.keys() if name.startswith(f"{part}/")}
            if names != set(variables):
                odd = sorted(names ^ set(variables))
                raise ModelFolderError(f"{path} does not match config.json. Received: {', '.join(odd[:5])}")
            for name, variable in variables.items():
                variable.assign(file.get_tensor(f"{part}/{name}"))
    except (safetensors.SafetensorError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read: {error}") from error


def _load_keras(path: Path) -> keras.Model:
    if not path.is_file():
        raise ModelFolderError(f"No such .keras file. Received: {str(path)!r}")
    check_keras_file(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFolderError(f"{path} is not a Keras model of built-in layers: {reason}") from error
