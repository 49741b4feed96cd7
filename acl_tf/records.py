"""Evaluation records where runs and models keep them."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acl_tf.errors import AclTfError
from acl_tf.files import locked, write_atomically

RECORDS = "records.jsonl"
# Keys in which two runs of the same measurement with the same seed may differ.
TIMES = ("date", "seconds", "seconds_per_attack")
# Keys of AutoAttack's protocol that are results, not settings.
FINDINGS = ("per_attack", "warnings")
# Sub-folders in which a run may keep records, and the model that they are about; an empty name: the run's own model.
FOLDERS = (("", ""), ("model", ""), ("model_last", "model_last"))

Record = dict[str, Any]


class RecordsError(AclTfError):
    """Records that cannot be read, or a path that cannot hold any."""


@dataclass(frozen=True)
class NamedRecord:
    """A record, and the run or model that it belongs to.

    Attributes:
        name: Name of the run or model.
        record: The record, as `acl_tf.evaluate.record.record` makes it.
    """

    name: str
    record: Record


def read_named_records(path: Path, name: str) -> list[NamedRecord]:
    """Reads all records of a run folder, a model folder or a file of records.

    Args:
        path: Path of the folder, of a `records.jsonl`, or of a JSON list as `acl-tf evaluate --json` writes it.
        name: Name of the run or model. In a file, records that name an encoder get that name instead.

    Returns:
        The records, without those that differ from another only in `date` and `seconds`; empty if nothing was
        evaluated.

    Raises:
        RecordsError: If the path is neither a folder with records nor a file of records, or if a file is damaged.
    """
    if path.is_file():
        entries = [NamedRecord(_named_in(record) or name, record) for record in read_file(path)]
    elif is_run_or_model(path):
        entries = [entry for part, model in FOLDERS for entry in _folder_entries(path, part, name, model)]
    else:
        raise RecordsError(f"No run folder, model folder or file of records. Received: {str(path)!r}")
    return list({_identity(entry): entry for entry in reversed(entries)}.values())[::-1]


def is_run_or_model(folder: Path) -> bool:
    """Returns whether a folder is a run, finished or not, or a model, evaluated or not."""
    files: tuple[str, ...] = ("run.json", "manifest.json", "model/manifest.json", "model_last/manifest.json")
    files += tuple(f"{part}/{RECORDS}" for part, _ in FOLDERS)
    return (folder / "checkpoints").is_dir() or any((folder / file).is_file() for file in files)


def read_file(path: Path) -> list[Record]:
    """Reads records from JSON lines, or from a JSON list in a file whose name does not end in `.jsonl`.

    Raises:
        RecordsError: If the content is not of this form; names the file and the line.
    """
    text = _text(path)
    if path.suffix != ".jsonl" and text.lstrip().startswith("["):
        try:
            records = json.loads(text)
        except json.JSONDecodeError as error:
            raise RecordsError(f"{path}, line {error.lineno}, is damaged: {error.msg}.") from error
        return [_valid_record(record, f"{path}, record {number},") for number, record in enumerate(records, 1)]
    return [_valid_record(*line) for line in read_lines(path)]


def add_records(path: Path, records: Sequence[Record]) -> None:
    """Adds records to a `records.jsonl`, atomically; a repeated measurement replaces the earlier one.

    Several processes may add records at once.

    Args:
        path: Path of the file, which need not exist.
        records: Records to add.

    Raises:
        RecordsError: If the existing file is damaged.
    """
    with locked(path):
        present = read_file(path) if path.is_file() else []
        merged = {_measurement(record): record for record in [*present, *records]}
        write_atomically(path, "".join(json.dumps(record) + "\n" for record in merged.values()))


def read_lines(path: Path, cut_short: bool = False) -> list[tuple[Any, str]]:
    """Reads JSON lines.

    Args:
        path: Path of the file.
        cut_short: Whether the last line may be incomplete, as after a crash; it is then left out.

    Returns:
        The value of each line that is not blank, and its place in the file, for messages.

    Raises:
        RecordsError: If a line is not JSON; names the file and the line.
    """
    values = []
    lines = _text(path).split("\n")
    last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=0)
    for number, line in enumerate(lines, 1):
        place = f"{path}, line {number},"
        try:
            values += [(json.loads(line), place)] if line.strip() else []
        except json.JSONDecodeError as error:
            if not (cut_short and number == last):
                raise RecordsError(f"{place} is damaged: {error.msg} at column {error.colno}.") from error
        except (ValueError, RecursionError) as error:
            raise RecordsError(f"{place} is damaged: {error}.") from error
    return values


def names_of(paths: Sequence[Path]) -> list[str]:
    """Returns a unique name for each path: the shortest sequence of last parts that no other path ends with."""
    resolved = [path.resolve() for path in paths]
    names = []
    for path in resolved:
        parts = path.with_suffix("").parts if path.is_file() else path.parts
        length = 2 if path.name in ("model", "model_last") else 1
        while length < len(parts) and _shared_ending(path, resolved, length):
            length += 1
        names.append("/".join(parts[-length:]))
    return names


def different(paths: Iterable[str | Path]) -> list[Path]:
    """Returns the paths in order, without repetitions of the same place."""
    return list({Path(path).expanduser().resolve(): Path(path).expanduser() for path in paths}.values())


def _shared_ending(path: Path, others: list[Path], length: int) -> bool:
    return any(other != path and other.parts[-length:] == path.parts[-length:] for other in others)


def _folder_entries(path: Path, part: str, name: str, model: str) -> list[NamedRecord]:
    file = path / part / RECORDS
    last = None if model else _model_sha256(path / "model_last")
    own = _model_sha256(path / "model")
    entries = []
    for record in read_file(file) if file.is_file() else []:
        is_last = model or (last and record.get("model_sha256") == last != own)
        entries.append(NamedRecord(f"{name}/model_last" if is_last else name, record))
    return entries


def _model_sha256(folder: Path) -> str | None:
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]["model.keras"]["sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        return None  # loading the model reports what is wrong with it


def _named_in(record: Record) -> str:
    encoder = record["protocol"].get("encoder")
    return encoder if isinstance(encoder, str) else ""


def _identity(entry: NamedRecord) -> str:
    return json.dumps([entry.name, without(entry.record, *TIMES)], sort_keys=True)


def _measurement(record: Record) -> str:
    """Returns a key of what was measured: the record without its results and times."""
    about = without(record, "value", *TIMES)
    return json.dumps({**about, "protocol": without(record.get("protocol", {}), *FINDINGS)}, sort_keys=True)


def without(values: Record, *keys: str) -> Record:
    """Returns a mapping without some of its keys."""
    return {key: value for key, value in values.items() if key not in keys}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise RecordsError(f"{path}, line {line}, is damaged: not UTF-8.") from error


def _valid_record(record: Any, place: str) -> Record:
    """Returns a record after checking that it has a metric, a number and a protocol."""
    value = record.get("value") if isinstance(record, dict) else None
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not isinstance(record.get("metric"), str) or not isinstance(record.get("protocol", {}), dict):
        raise RecordsError(
            f"{place} is not a record: it needs metric (a name), value (a number) and protocol (an object). "
            f"Received: {json.dumps(record)[:100]}"
        )
    return {**record, "protocol": record.get("protocol", {})}
