import json

import numpy as np
import pytest

from acl_tf.records import (
    NamedRecord,
    RecordsError,
    add_records,
    different,
    names_of,
    read_file,
    read_lines,
    read_named_records,
)
from tests.report.folders import record, robust, write_lines, write_run

LAST, BEST = "a" * 64, "b" * 64


def write_manifest(folder, digest: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"files": {"model.keras": {"sha256": digest, "size": 1}}}))


def complaint(read, *arguments) -> str:
    with pytest.raises(RecordsError) as error:
        read(*arguments)
    return str(error.value)


def test_a_run_and_its_model_have_a_record_once(tmp_path):
    first, second = record(value=0.5), robust(0.25)
    run = write_run(tmp_path / "run", records=[first])
    again = {**first, "date": "2027-01-01T00:00:00+00:00", "seconds": 99.0}
    write_lines(run / "model" / "records.jsonl", [again, second])
    assert read_named_records(run, "run") == [NamedRecord("run", first), NamedRecord("run", second)]


@pytest.mark.parametrize("change", [{"value": 0.75}, {"n": 10}, {"split": "train"}, {"model_sha256": LAST}])
def test_records_that_differ_are_both_there(tmp_path, change):
    run = write_run(tmp_path / "run", records=[record()])
    write_lines(run / "model" / "records.jsonl", [{**record(), **change}])
    assert len(read_named_records(run, "run")) == 2


def test_records_of_the_last_epoch_have_a_name_of_their_own(tmp_path):
    run = write_run(tmp_path / "run")
    write_manifest(run / "model", BEST)
    write_manifest(run / "model_last", LAST)
    write_lines(run / "records.jsonl", [record(model_sha256=BEST), record(value=0.4, model_sha256=LAST)])
    write_lines(run / "model_last" / "records.jsonl", [record(value=0.4, model_sha256=LAST), robust(model_sha256=LAST)])
    assert [entry.name for entry in read_named_records(run, "run")] == ["run", "run/model_last", "run/model_last"]


def test_a_model_folder(tmp_path):
    write_manifest(tmp_path / "model", BEST)
    assert read_named_records(tmp_path / "model", "imported") == []
    write_lines(tmp_path / "model" / "records.jsonl", [record()])
    assert read_named_records(tmp_path / "model", "imported") == [NamedRecord("imported", record())]


@pytest.mark.parametrize("name", ["records.json", "records.jsonl"])
def test_a_file(tmp_path, name):
    records = [record(), robust(0.3, {"encoder": "random:resnet18"})]
    if name.endswith("l"):
        write_lines(tmp_path / name, records)
    else:
        (tmp_path / name).write_text(json.dumps(records, indent=2))
    assert [entry.name for entry in read_named_records(tmp_path / name, "file")] == ["file", "random:resnet18"]
    assert [entry.record for entry in read_named_records(tmp_path / name, "file")] == records


def test_nothing_that_has_records(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        assert complaint(read_named_records, path, "x") == (
            f"No run folder, model folder or file of records. Received: {str(path)!r}"
        )


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"metric": ', "is damaged: Expecting value at column 12."),
        ("[]", "is not a record: it needs metric (a name), value (a number) and protocol (an object). Received: []"),
        (
            '{"metric": "accuracy", "value": NaN}',
            "is not a record: it needs metric (a name), value (a number) and protocol (an object). "
            'Received: {"metric": "accuracy", "value": NaN}',
        ),
        (
            '{"metric": "accuracy", "value": true}',
            "is not a record: it needs metric (a name), value (a number) and protocol (an object). "
            'Received: {"metric": "accuracy", "value": true}',
        ),
    ],
)
def test_a_damaged_line(tmp_path, line, message):
    file = tmp_path / "records.jsonl"
    file.write_text(json.dumps(record()) + "\n\n" + line + "\n")
    assert complaint(read_file, file) == f"{file}, line 3, {message}"


def test_a_damaged_list(tmp_path):
    file = tmp_path / "records.json"
    file.write_text("[\n{},\n{")
    assert complaint(read_file, file).startswith(f"{file}, line 3, is damaged: ")
    file.write_text("[{}]")
    assert complaint(read_file, file).startswith(f"{file}, record 1, is not a record: ")


def test_bytes_that_are_no_text(tmp_path):
    file = tmp_path / "records.jsonl"
    file.write_bytes(json.dumps(record()).encode() + b"\n" + np.random.default_rng(0).bytes(100))
    assert complaint(read_file, file) == f"{file}, line 2, is damaged: not UTF-8."


def test_a_last_line_that_a_crash_cut_short(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"st')
    assert [value for value, _ in read_lines(file, cut_short=True)] == [{"step": 1}]
    file.write_text('{"st\n{"step": 1}\n')
    assert complaint(read_lines, file, True).startswith(f"{file}, line 1, is damaged: ")


def test_names_are_as_short_as_they_can_be(tmp_path):
    for folder in ("a/run", "b/run", "c", "d/model"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "v1.5").mkdir()
    (tmp_path / "list.json").touch()
    paths = [tmp_path / name for name in ("a/run", "b/run", "c", "d/model", "v1.5", "list.json")]
    assert names_of(paths) == ["a/run", "b/run", "c", "d/model", "v1.5", "list"]


def test_each_place_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(path) for path in different(["a", "./a", "b/../a", tmp_path / "b"])] == ["b/../a", str(tmp_path / "b")]


def test_a_repeated_measurement_takes_the_place_of_the_earlier_one(tmp_path):
    file = tmp_path / "records.jsonl"
    first = {"metric": "robust_accuracy", "value": 0.5, "protocol": {"attack": "pgd20", "seed": 0}, "seconds": 1.0}
    other = {**first, "protocol": {"attack": "pgd20", "seed": 1}}
    again = {**first, "value": 0.25, "seconds": 2.0}
    for records in ([first, other], [again]):
        add_records(file, records)
    assert read_file(file) == [again, other]
