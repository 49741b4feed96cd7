"""Files and folders are whole or absent, also where the writer is killed or fails."""

import errno
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from acl_tf.errors import AclTfError
from acl_tf.files import (
    folder_atomically,
    held,
    locked,
    open_lock,
    sha256,
    tidy,
    write_atomically,
    write_npz_atomically,
)


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


def test_write_npz_atomically(tmp_path):
    file = tmp_path / "a.npz"
    file.write_text("old")
    write_npz_atomically(file, logits=np.float32([[1, 2]]), seconds=1.5, origin="grün", path=[True])
    with np.load(file, allow_pickle=False) as arrays:
        assert {name: (array.dtype.kind, array.tolist()) for name, array in arrays.items()} == {
            "logits": ("f", [[1.0, 2.0]]),
            "seconds": ("f", 1.5),
            "origin": ("U", "grün"),
            "path": ("b", [True]),
        }
    assert names(tmp_path) == ["a.npz"]


def test_an_npz_that_is_not_written_leaves_the_old_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    file = tmp_path / "a.npz"
    write_npz_atomically(file, value=1)
    monkeypatch.setattr("acl_tf.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_npz_atomically(file, value=2)
    with np.load(file) as arrays:
        assert arrays["value"] == 1
    assert names(tmp_path) == ["a.npz"]


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


# Between the two renames

MOVED_ASIDE = """
folder = pathlib.Path(sys.argv[1])
rename = pathlib.Path.rename

def stop_before_the_second(path, target):
    if target == folder:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(path, target)

pathlib.Path.rename = stop_before_the_second
with files.folder_atomically(folder) as new:
    (new / "new").touch()
"""


@pytest.fixture
def aside(tmp_path):
    """Where a folder was, whose writer was killed when the old one had gone and the new one had not yet come."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    killed(MOVED_ASIDE, folder)
    assert not folder.exists() and len(names(tmp_path)) == 2
    return folder


def test_a_folder_that_was_moved_aside_comes_back(aside):
    tidy(aside)
    assert names(aside) == ["old"]
    assert names(aside.parent) == ["model"]


def test_the_next_writer_finds_it_too(aside):
    with folder_atomically(aside) as new:
        (new / "newer").touch()
        assert names(aside) == ["old"]
    assert names(aside) == ["newer"]
    assert names(aside.parent) == ["model"]


def test_the_next_writer_that_fails_leaves_the_old_folder(aside):
    with pytest.raises(KeyboardInterrupt), folder_atomically(aside):
        raise KeyboardInterrupt
    assert names(aside) == ["old"]
    assert names(aside.parent) == ["model"]


def test_a_second_signal_between_the_renames_leaves_the_old_folder(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    rename = type(folder).rename

    def interrupt(path, target):
        if target == folder and path.suffix == ".tmp":
            raise KeyboardInterrupt
        rename(path, target)

    monkeypatch.setattr(type(folder), "rename", interrupt)
    with pytest.raises(KeyboardInterrupt), folder_atomically(folder):
        pass
    assert names(folder) == ["old"]
    assert names(tmp_path) == ["model"]


def test_what_is_tidied_up_is_of_that_path_alone(tmp_path):
    strange = [".model_last.7.old", ".model.old", ".model.x.old", ".model.7.tmp.txt", "model.7.tmp", ".amodel.7.tmp"]
    for name in [*strange, ".model.7.tmp", ".model.8.tmp"]:
        (tmp_path / name).mkdir()
    (tmp_path / ".model.9.tmp").touch()
    tidy(tmp_path / "model")
    assert names(tmp_path) == sorted(strange)


def test_a_folder_that_is_there_is_not_replaced_by_an_older_one(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "new").touch()
    (tmp_path / ".model.7.old").mkdir()
    tidy(tmp_path / "model")
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["new"]


def test_nothing_to_tidy_up(tmp_path):
    tidy(tmp_path / "model")
    tidy(tmp_path / "none" / "model")
    assert names(tmp_path) == []


# One at a time


def test_locked(tmp_path):
    """Each reads, waits and writes: without the lock, counts would be lost."""
    file = tmp_path / "count"
    file.write_text("0")

    def count():
        for _ in range(25):
            with locked(file):
                value = int(file.read_text())
                time.sleep(0.001)
                file.write_text(str(value + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_text() == "100"
    assert names(tmp_path) == ["count"]


def test_a_lock_does_not_outlive_its_process(tmp_path):
    killed(
        "with files.locked(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)", tmp_path / "model"
    )
    with locked(tmp_path / "model"):
        assert names(tmp_path) == [".model.lock"]
    assert names(tmp_path) == []


def test_sha256(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(bytes(range(256)) * 10_000)
    assert sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()


# What somebody else has put in the way


def a_link(path, victim):
    path.symlink_to(victim)


def a_link_to_nothing(path, victim):
    path.symlink_to(victim.with_name("nothing"))


def a_pipe(path, victim):
    os.mkfifo(path)


def a_folder(path, victim):
    path.mkdir()


@pytest.mark.parametrize("thing", [a_link, a_link_to_nothing, a_pipe, a_folder])
def test_a_lock_is_a_regular_file(tmp_path, thing):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    thing(tmp_path / ".run.lock", victim)
    with pytest.raises(AclTfError) as error, locked(tmp_path / "run"):
        pytest.fail("not locked")
    assert str(error.value) == (
        f"A lock must be a regular file; remove what is there. Received: {tmp_path / '.run.lock'}"
    )
    assert victim.read_text() == "precious" and not (tmp_path / "nothing").exists()


def test_a_lock_that_is_there_keeps_its_content(tmp_path):
    (tmp_path / "lock").write_text("precious")
    with open_lock(tmp_path / "lock"):
        pass
    assert (tmp_path / "lock").read_text() == "precious"


def test_writing_follows_no_link_of_the_temporary_name(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".a.txt.{os.getpid()}.tmp").symlink_to(victim)
    write_atomically(tmp_path / "a.txt", "new")
    assert (victim.read_text(), (tmp_path / "a.txt").read_text()) == ("precious", "new")
    assert names(tmp_path) == ["a.txt", "victim"]


# File systems without locks


@pytest.fixture
def no_locks(monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("acl_tf.files.fcntl.flock", flock)


def test_without_locks_one_at_a_time_enters(tmp_path, no_locks):
    inside, most = [], []

    def enter():
        with locked(tmp_path / "run"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4
    assert names(tmp_path) == []


def test_without_locks_a_run_folder_belongs_to_one_process(tmp_path, no_locks):
    path = tmp_path / "lock"
    with open_lock(path) as file, held(file, path, wait=False):
        assert (tmp_path / "lock.held").read_text() == f"{socket.gethostname()} {os.getpid()}"
        with pytest.raises(BlockingIOError), held(file, path, wait=False):
            pytest.fail("held twice")
    with open_lock(path) as file, held(file, path, wait=False):
        pass


def test_without_locks_what_a_killed_process_left_is_taken_over(tmp_path, no_locks):
    killed(
        "files.fcntl.flock = lambda *_: (_ for _ in ()).throw(OSError(37, 'No locks available'))\n"
        "with files.locked(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path / "run",
    )
    assert names(tmp_path) == [".run.lock", ".run.lock.held"]
    with locked(tmp_path / "run"):
        pass
    assert names(tmp_path) == []
    (tmp_path / "lock.held").write_text("another.host 1")
    with (
        open_lock(tmp_path / "lock") as file,
        pytest.raises(BlockingIOError),
        held(file, tmp_path / "lock", wait=False),
    ):
        pytest.fail("held twice")
