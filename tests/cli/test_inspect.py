"""`acl-tf inspect`; what it refuses stands in tests/safety."""

import json
import shutil

import pytest

from acl_tf.cli import run
from acl_tf.files import sha256
from acl_tf.model_folder.manifest import write_manifest
from tests.cli.test_export import model  # noqa: F401, a fixture
from tests.report.folders import record, robust


def shown(capsys, *arguments: object, code: int = 0) -> list[str]:
    capsys.readouterr()
    assert run(["inspect", *map(str, arguments)]) == code
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def folder(model, tmp_path):  # noqa: F811
    folder = shutil.copytree(model, tmp_path / "model")
    (folder / "records.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in (record(), robust(0.451))))
    write_manifest(folder)
    return folder


def test_a_model_folder(folder, capsys):
    lines = shown(capsys, folder)
    assert lines[0] == f"model       {folder}"
    assert {"kind        classifier", "arch        resnet10", "width       0.0625"} <= set(lines)
    digest, size = sha256(folder / "model.keras"), (folder / "model.keras").stat().st_size
    assert f"file        {digest}  {size:>12,}  model.keras" in lines
    assert (
        len([line for line in lines if line.startswith("file ")])
        == len([file for file in folder.rglob("*") if file.is_file()]) - 1
    )
    (layers,) = (line for line in lines if line.startswith("keras  "))
    assert "BatchNormalization" in layers and "Conv2D" in layers and "Functional" in layers
    outputs = "logits: float32 (?, 3), probabilities: float32 (?, 3)"
    assert [line for line in lines if line.startswith("signature ")] == [
        f"signature   saved_model: image_bytes(image_bytes: string (?)) -> {outputs}",
        f"signature   saved_model: serving_default(images: float32 (?, 16, 16, 3)) -> {outputs}",
        f"signature   saved_model: uint8(images: uint8 (?, 16, 16, 3)) -> {outputs}",
    ]
    (operations,) = (line for line in lines if line.startswith("operations  saved_model: "))
    assert "Conv2D 12" in operations and "DecodeJpeg 1" in operations and "SaveV2 1" in operations
    assert [line for line in lines if line.startswith("record ")][1] == (
        "record      robust_accuracy 45.10, PGD-20 l∞ 8/255, 1 restart, digits/test"
    )
    assert lines[-1] == "verdict     safe: what acl-tf loads of it only computes"


def test_json(folder, capsys):
    found = json.loads("\n".join(shown(capsys, folder, "--json")))
    assert found["path"] == str(folder) and found["refused"] is False and found["findings"] == []
    assert found["config"]["kind"] == "classifier"
    assert found["files"]["model.keras"] == {
        "sha256": sha256(folder / "model.keras"),
        "size": (folder / "model.keras").stat().st_size,
    }
    assert found["saved_models"]["saved_model"]["operations"]["Conv2D"] == 12
    assert found["saved_models"]["saved_model"]["signatures"]["uint8"]["inputs"] == {"images": "uint8 (?, 16, 16, 3)"}
    assert [entry["metric"] for entry in found["records"]] == ["accuracy", "robust_accuracy"]
    assert "Conv2D" in found["keras_classes"]


def test_json_of_what_is_refused(folder, capsys):
    (folder / "extra").touch()
    found = json.loads("\n".join(shown(capsys, folder, "--json", code=1)))
    assert found["refused"] is True
    assert found["findings"] == [f"{folder / 'extra'} is not in the manifest; the folder is not as acl-tf wrote it."]


def test_a_run_folder(folder, capsys):
    assert shown(capsys, folder.parent) == shown(capsys, folder)


def test_a_lone_file(folder, capsys):
    lines = shown(capsys, folder / "model.keras")
    assert lines[0] == f"model       {folder / 'model.keras'}"
    assert sha256(folder / "model.keras") in lines[1]
    assert lines[-1].startswith("verdict     safe")


def test_a_saved_model_and_a_base_path(folder, tmp_path, capsys):
    lines = shown(capsys, folder / "saved_model")
    assert any(line.startswith("signature   .: serving_default(") for line in lines)
    for version in ("1", "2"):
        shutil.copytree(folder / "saved_model", tmp_path / "served" / version)
    lines = shown(capsys, tmp_path / "served")
    for version in ("1", "2"):
        assert any(line.startswith(f"signature   {version}: uint8(") for line in lines)


def test_what_was_trusted_is_shown(folder, capsys):
    """`acl-tf pull --trust` records it."""
    origin = {"repo_id": "user/name", "revision": "abc", "trusted": ["the operation WriteFile in the graph"]}
    (folder / "origin.json").write_text(json.dumps(origin))
    write_manifest(folder)
    (line,) = (line for line in shown(capsys, folder) if line.startswith("origin "))
    assert "user/name" in line and "abc" in line and "the operation WriteFile in the graph" in line


def test_what_stands_in_a_model_does_not_colour_the_terminal(folder, capsys):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "arch": "\x1b[31mred\nverdict     safe"}))
    write_manifest(folder)
    lines = shown(capsys, folder)
    assert "arch        \\x1b[31mred\\nverdict     safe" in lines


def test_no_model(fail, tmp_path):
    assert fail("inspect", tmp_path / "none") == (
        1,
        f"acl-tf: error: No model folder and no run. Received: '{tmp_path / 'none'}'",
    )
    assert fail("inspect", tmp_path / "none.keras") == (
        1,
        f"acl-tf: error: No such file. Received: '{tmp_path / 'none.keras'}'",
    )
