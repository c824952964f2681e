"""Files that are written whole or not at all, hashed, and folders that one process writes at a time."""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO

from mask_interchange.errors import RunBusyError, RunError

TEMPORARY_PREFIX = ".writing-"


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading, at once: a pipe or a device in its place would make the reader wait for ever.

    Raises:
        OSError: the file cannot be opened, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step; see `replace_whole`."""

    def write(temporary: Path) -> None:
        with open(temporary, "xb") as file:
            file.write(data)

    replace_whole(path, write)


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a temporary file beside `path`; flush it to the disk, then rename it to `path`."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last through a power cut, where the system lets a folder be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def lock_folder(path: Path, *, shared: bool) -> Iterator[None]:
    """Hold the advisory lock of a folder that a run or a training writes to; it ends when the process does.

    Raises:
        RunBusyError: another process holds it.
    """
    with open(path / ".lock", "ab") as file:
        try:
            _lock_file(file, shared)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}:
                raise RunError(f"{path}: the run cannot be locked for writing: {error.strerror}") from error
            raise RunBusyError(
                f"{path}: another process is writing here; wait for it, or give another folder with --out"
            ) from error
        yield


try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _lock_file(file: IO[bytes], shared: bool) -> None:
        # Windows has no shared lock of this kind; workers go without, an exclusive writer is still alone.
        if not shared:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:

    def _lock_file(file: IO[bytes], shared: bool) -> None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
