import json
import os

import pytest

from acl_tf.errors import ModelFolderError, UnsafeModelError
from acl_tf.files import sha256
from acl_tf.model_folder.manifest import FileEntry, manifest_text, read_manifest, verify, write_manifest

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "sub" / "deep" / "empty").touch()
    write_manifest(tmp_path)
    return tmp_path


def complaint(folder) -> str:
    with pytest.raises(ModelFolderError) as error:
        verify(folder)
    return str(error.value)


def test_what_is_written(folder):
    assert json.loads((folder / "manifest.json").read_text()) == {
        "files": {
            "a.txt": {"sha256": sha256(folder / "a.txt"), "size": 1},
            "sub/deep/empty": {"sha256": EMPTY, "size": 0},
        }
    }
    assert read_manifest(folder / "manifest.json") == {
        "a.txt": FileEntry(1, sha256(folder / "a.txt")),
        "sub/deep/empty": FileEntry(0, EMPTY),
    }
    verify(folder)


def test_the_same_files_give_the_same_text(folder):
    before = (folder / "manifest.json").read_bytes()
    write_manifest(folder)
    assert (folder / "manifest.json").read_bytes() == before
    entries = read_manifest(folder / "manifest.json")
    assert manifest_text(dict(reversed(entries.items()))).encode() == before


def test_a_folder_may_hold_empty_folders(folder):
    (folder / "void").mkdir()
    verify(folder)


def test_size_and_hash_are_both_compared(folder):
    (folder / "a.txt").write_text("b")
    changed = f"{folder}/a.txt has changed since it was written: its SHA-256 is not the manifest's."
    assert complaint(folder) == changed
    (folder / "a.txt").write_text("ab")
    assert complaint(folder) == changed


def test_a_file_that_is_not_named(folder):
    (folder / "sub" / "new").touch()
    assert complaint(folder) == f"{folder}/sub/new is not in the manifest; the folder is not as acl-tf wrote it."


def test_a_file_that_is_gone(folder):
    (folder / "sub" / "deep" / "empty").unlink()
    assert complaint(folder) == f"{folder}/sub/deep/empty is missing; the folder is not as acl-tf wrote it."


def test_a_folder_in_the_place_of_a_file(folder):
    (folder / "a.txt").unlink()
    (folder / "a.txt").mkdir()
    assert complaint(folder) == f"{folder}/a.txt is missing; the folder is not as acl-tf wrote it."


def test_none(tmp_path):
    assert complaint(tmp_path) == f"No model folder: it has no manifest.json. Received: '{tmp_path}'"
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises((ModelFolderError, OSError)):
        verify(tmp_path)


def test_names_are_checked_before_files(folder):
    """Nothing of a manifest that leads outside is compared, so nothing outside is read."""
    manifest = {"files": {"../a.txt": {"sha256": EMPTY, "size": 0}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UnsafeModelError, match=r"names a path outside of it; nothing of it was read"):
        verify(folder)


def test_size_is_compared_before_a_file_is_read(folder, monkeypatch):
    from acl_tf.model_folder import manifest

    os.truncate(folder / "a.txt", 2**30)
    monkeypatch.setattr(manifest, "sha256", lambda path: pytest.fail(f"read {path}"))
    assert "a.txt has changed" in complaint(folder)


def test_a_manifest_that_is_exchanged_meanwhile_is_read_again(folder, monkeypatch):
    """As when another process adds records while this one compares."""
    from acl_tf.model_folder import manifest

    compare, seen = manifest._compare, []

    def exchanging(folder, entries):
        seen.append(sorted(entries))
        if len(seen) == 1:
            (folder / "new").touch()
            write_manifest(folder)
        compare(folder, entries)

    monkeypatch.setattr(manifest, "_compare", exchanging)
    verify(folder)
    assert seen == [["a.txt", "sub/deep/empty"], ["a.txt", "new", "sub/deep/empty"]]
