"""Files that are either whole or absent: written under a temporary name, then renamed."""

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from acl_tf.errors import AclTfError

# What a file system answers that has no locks: NFS without a lock daemon, some of Lustre, some mounts of containers.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
HELD = ".held"  # the end of the name of the file that takes the place of such a lock
WAIT_SECONDS = 0.05  # between two attempts to get a lock there


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes a file so that readers see either the old content or the new, even after a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of a killed process of the same number, or a link that somebody has put there
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_npz_atomically(path: Path, /, **arrays: Any) -> None:
    """Writes arrays, or values that convert to arrays, atomically to an `.npz` file under their names."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


@contextlib.contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary folder that replaces `path` when the block ends without an error.

    A process that is killed between the two renames leaves the old folder under a temporary name; the next call of
    this function or of `tidy` restores it. Concurrent writers need `locked`.
    """
    path = path.absolute()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _tidy(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.exists():
            path.rename(path.with_name(f".{path.name}.{os.getpid()}.old"))
        temporary.rename(path)
    finally:
        _tidy(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lets one process at a time enter the block while others wait; `path` need not exist and is not touched."""
    path = path.absolute()
    lock = path.with_name(f".{path.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as files:
        while True:
            with contextlib.ExitStack() as attempt:
                file = attempt.enter_context(open_lock(lock))
                attempt.enter_context(held(file, lock))
                if _is_at(lock, file.fileno()):  # otherwise the previous process removed the file meanwhile
                    files.enter_context(attempt.pop_all())
                    break
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextlib.contextmanager
def held(file: IO[bytes], path: Path, wait: bool = True) -> Iterator[None]:
    """Holds a lock alone among all processes, also where the file system has no locks.

    There, whoever makes a second file, whose name ends in `HELD`, has the lock. It names its process: what a process of
    this host that is no more has left is taken over.

    Args:
        file: The file, opened by `open_lock`.
        path: Its path.
        wait: Whether to wait for another process that holds the lock.

    Raises:
        BlockingIOError: If another process holds it, and `wait` is false.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        mark = None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        mark = path.with_name(path.name + HELD)
        while not _made(mark):
            if not wait:
                raise BlockingIOError(errno.EAGAIN, "Another process holds it", str(path)) from error
            time.sleep(WAIT_SECONDS)
    try:
        yield
    finally:
        if mark:
            mark.unlink(missing_ok=True)


def _made(mark: Path) -> bool:
    """Makes a file that names this process; returns whether it was not there, or of a process that is no more."""
    with contextlib.suppress(FileNotFoundError):  # its process removes it meanwhile
        host, _, number = mark.read_text(encoding="utf-8").partition(" ")
        if host == socket.gethostname() and number.isdecimal() and not _runs(int(number)):
            mark.unlink(missing_ok=True)
    try:
        with mark.open("x", encoding="utf-8") as file:
            file.write(f"{socket.gethostname()} {os.getpid()}")
    except FileExistsError:
        return False
    return True


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def open_lock(path: Path) -> IO[bytes]:
    """Opens a file to be locked, and makes it where there is none.

    In a folder of somebody else's it may be anything: no link is followed, and no content changes.

    Raises:
        AclTfError: If it is a link, or anything but a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "r+b")
        os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
    raise AclTfError(f"A lock must be a regular file; remove what is there. Received: {path}")


def tidy(path: Path) -> None:
    """Removes half-written copies of a file or folder that killed processes left, and restores one moved aside."""
    if _leftovers(path):
        with locked(path):
            _tidy(path)


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tidy(path: Path) -> None:
    aside = [leftover for leftover in _leftovers(path) if leftover.suffix == ".old"]
    if aside and not path.exists():
        aside[0].rename(path)
    for leftover in _leftovers(path):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _leftovers(path: Path) -> list[Path]:
    """Returns the temporary files and folders that `write_atomically` and `folder_atomically` make for `path`."""
    name = re.compile(rf"\.{re.escape(path.name)}\.\d+\.(tmp|old)")
    return [file for file in path.parent.glob(".*") if name.fullmatch(file.name)]


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
