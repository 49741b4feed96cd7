"""The places where records are stored: the output folder, and the folder of the evaluated model."""

import logging
from collections.abc import Sequence
from pathlib import Path

from acl_tf.classifiers.loading import LoadedClassifier
from acl_tf.errors import UsageError
from acl_tf.model_folder.write import add_to_model_folder
from acl_tf.records import RECORDS, Record
from acl_tf.safety.paths import is_cache_snapshot

logger = logging.getLogger(__name__)


def check_output(output: Path, model: LoadedClassifier) -> None:
    """Raises `UsageError` if the output folder is a file or lies in the model folder."""
    if output.is_file():
        raise UsageError(f"The output folder is a file; choose another --output. Received: {output}")
    if model.folder and output.is_relative_to(model.folder.resolve()):
        raise UsageError(
            f"A model folder holds nothing but the model; choose another --output. Received: {output} in {model.folder}"
        )


def add_to_model(model: LoadedClassifier, records: Sequence[Record], output: Path) -> None:
    """Adds the records to the model folder, if there is one that is writable and not in the Hub's cache."""
    if model.folder and records and not is_cache_snapshot(model.folder):
        try:
            add_to_model_folder(model.folder, records)
        except OSError as error:
            logger.warning("The model folder cannot be written to (%s); the records are in %s", error, output / RECORDS)
