"""Reading of run folders and model folders for a report; imports neither TensorFlow nor Keras."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from acl_tf.printable import printable
from acl_tf.records import NamedRecord, RecordsError, different, names_of, read_lines, read_named_records


@dataclass(frozen=True)
class Run:
    """A run, or a model that comes from elsewhere.

    Attributes:
        number: Number of the run in the report, from 0, which determines its colour.
        name: Name of the run, unique in the report.
        path: Path as the user wrote it.
        entries: Evaluation records.
        rows: Rows of `metrics.jsonl`; empty for a model.
        model: Content of `config.json` in the model folder; empty if there is no model yet.
        recipe: Configuration of the run, as nested mappings; empty if there is none.
        about: Content of `run.json`; empty for a model.
        selects: Whether the best epoch was selected; the model of the last epoch is then kept beside it.
    """

    number: int
    name: str
    path: Path
    entries: list[NamedRecord]
    rows: list[dict[str, Any]]
    model: Mapping[str, Any]
    recipe: Mapping[str, Any]
    about: Mapping[str, Any]
    selects: bool

    def setting(self, key: str) -> Any:
        """Returns a value of the recipe, such as `data.dataset`, or None."""
        value: Any = self.recipe
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value


def read_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Reads the runs of a report; repeated folders are read once.

    Raises:
        RecordsError: If a path is not a run, a model or a file of records, or if a file is damaged.
    """
    places = different(paths)
    return [_read(number, path, name) for number, (path, name) in enumerate(zip(places, names_of(places), strict=True))]


def _read(number: int, path: Path, name: str) -> Run:
    model_folder = path if (path / "manifest.json").is_file() else path / "model"
    model = _json_object(model_folder / "config.json")
    recipe = model.get("recipe") or _yaml_object(path / "config.yaml")
    return Run(
        number=number,
        name=printable(name),
        path=path,
        entries=[NamedRecord(printable(entry.name), entry.record) for entry in read_named_records(path, name)],
        rows=_metrics(path / "metrics.jsonl"),
        model=model,
        recipe=recipe if isinstance(recipe, Mapping) else {},
        about=_json_object(path / "run.json"),
        selects=(path / "model_last").is_dir(),
    )


def _metrics(path: Path) -> list[dict[str, Any]]:
    rows = []
    for row, place in read_lines(path, cut_short=True) if path.is_file() else []:
        if not isinstance(row, dict) or not all(isinstance(row.get(key), int) for key in ("step", "epoch")):
            raise RecordsError(f"{place} is not a row of metrics: it needs step and epoch. Received: {str(row)[:100]}")
        rows.append(row)
    return rows


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise RecordsError(f"{path} is damaged: {error}.") from error
    return value if isinstance(value, dict) else {}


def _yaml_object(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecordsError(f"{path} is damaged: {' '.join(str(error).split())}.") from error
    return value if isinstance(value, dict) else {}
