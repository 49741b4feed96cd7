"""Writing a model folder, the form in which runs and repositories on the Hub keep a model."""

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

from acl_tf.export.saved_model import export_saved_model
from acl_tf.files import folder_atomically, locked, sha256, write_atomically
from acl_tf.model_folder.card import card
from acl_tf.model_folder.files import CARD, CONFIG, MODEL, PAIRED, SAVED_MODEL
from acl_tf.model_folder.locate import read_config, read_records
from acl_tf.model_folder.manifest import write_manifest
from acl_tf.model_folder.weights import named_weights
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import linear_classifier
from acl_tf.models.paired_model import PairedModel, extract_branch
from acl_tf.records import RECORDS, Record, add_records
from acl_tf.versions import versions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedModel:
    """The parts of a model folder.

    Attributes:
        encoder: Encoder with all its branches.
        branch: Branch to publish.
        recipe: Configuration of the run, or source of an imported model.
        projection_head: Projection head, if there is one; it is kept for further pre-training.
        classifier: Dense layer on the features, if there is one; the folder is then that of a classifier.
        classes: Names of a classifier's classes.
        attacked: Whether it was trained against the attack of its recipe; None: not known.
    """

    encoder: Encoder
    branch: Branch
    recipe: Mapping[str, Any]
    projection_head: PairedModel | None = None
    classifier: keras.layers.Dense | None = None
    classes: tuple[str, ...] = ()
    attacked: bool | None = None


def write_model_folder(path: Path, trained: TrainedModel, records: Sequence[Record] = ()) -> None:
    """Writes a model folder atomically; it replaces an existing one.

    Args:
        path: Path of the folder.
        trained: Parts of the model folder.
        records: Records of the model; the SHA-256 of the model is added to each.
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
    """Adds records to a model folder atomically, and updates its card and manifest.

    Several processes may add records at once.

    Args:
        folder: Model folder.
        records: Records of its model.

    Raises:
        OSError: If it cannot be written to.
    """
    folder = folder.resolve()  # records are added to the target of a symbolic link
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


def _add(folder: Path, records: Sequence[Record]) -> None:
    """Adds records, and writes the card and the manifest, which depend on them, anew."""
    if records:
        add_records(folder / RECORDS, records)
    previous = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).exists() else ""
    write_atomically(folder / CARD, card(read_config(folder), read_records(folder), previous=previous))
    write_manifest(folder)


def _link(source: str, target: str) -> None:
    """Links a file to a second place, or copies it if the file system has no links."""
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
        "stem_padding": encoder.stem_padding,
        "input_shape": list(encoder.image_shape),
        "features": encoder.feature_dim,
        "classes": list(trained.classes) if trained.classifier is not None else None,
        "branch": str(trained.branch),
        "batch_norm": encoder.batch_norm,
        "projection_head": _own_config(head) if head else None,
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "attacked": trained.attacked,
        "recipe": dict(trained.recipe),
        "versions": versions(),
    }


def _own_config(head: PairedModel) -> dict[str, Any]:
    """Returns the configuration of a projection head, without what it shares with its encoder."""
    shared = {*keras.layers.Layer.get_config(head), "batch_norm", "synchronized"}
    return {key: value for key, value in head.get_config().items() if key not in shared}


def _save_weights(path: Path, trained: TrainedModel) -> None:
    parts = {"encoder": trained.encoder, "projection_head": trained.projection_head}
    arrays: dict[str, np.ndarray] = {}
    for part, model in parts.items():
        arrays |= {f"{part}/{name}": variable.numpy() for name, variable in named_weights(model).items()}
    if trained.classifier is not None:
        kernel, bias = trained.classifier.get_weights()
        arrays |= {"classifier/fc/kernel": kernel, "classifier/fc/bias": bias}
    # safetensors silently writes other memory layouts wrong.
    contiguous = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    path.write_bytes(safetensors.numpy.save(contiguous, metadata={"format": "acl_tf"}))
