"""Files and folders are whole or absent, also where the writer is killed or fails."""

import hashlib
import subprocess
import sys

import pytest

from acl_tf.files import folder_atomically, sha256, write_atomically


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed(code: str, *arguments) -> None:
    """Runs code in a process that ends itself by SIGKILL."""
    preamble = "import os, signal, sys, pathlib\nfrom acl_tf import files\n"
    done = subprocess.run([sys.executable, "-c", preamble + code, *map(str, arguments)], check=False)
    assert done.returncode == -9


@pytest.mark.parametrize("content, written", [("grün\n", b"gr\xc3\xbcn\n"), (b"\x00\xff", b"\x00\xff"), ("", b"")])
def test_write_atomically(tmp_path, content, written):
    file = tmp_path / "a.txt"
    file.write_text("old")
    write_atomically(file, content)
    assert file.read_bytes() == written
    assert names(tmp_path) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("acl_tf.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_killed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    killed(
        "files.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_atomically(pathlib.Path(sys.argv[1]), 'new')",
        file,
    )
    assert file.read_text() == "old"


def test_folder_atomically(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    with folder_atomically(folder) as new:
        (new / "new").touch()
        assert names(folder) == ["old"]
        assert new.parent == tmp_path  # so that a rename is enough
    assert names(folder) == ["new"]
    assert names(tmp_path) == ["model"]


def test_missing_parents_are_made(tmp_path):
    with folder_atomically(tmp_path / "a" / "b" / "c"):
        pass
    assert (tmp_path / "a/b/c").is_dir()


def test_a_failed_block_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(NotADirectoryError), folder_atomically(folder) as new:  # noqa: PT012
        (new / "new").touch()
        (new / "new" / "below").touch()
    assert names(folder) == ["old"]
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("there_before", [False, True])
def test_a_killed_block_leaves_the_old_folder(tmp_path, there_before):
    folder = tmp_path / "model"
    if there_before:
        folder.mkdir()
        (folder / "old").touch()
    killed(
        "with files.folder_atomically(pathlib.Path(sys.argv[1])) as new:\n"
        "    (new / 'new').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)",
        folder,
    )
    assert folder.exists() == there_before
    if there_before:
        assert names(folder) == ["old"]


def test_sha256(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(bytes(range(256)) * 10_000)
    assert sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()
