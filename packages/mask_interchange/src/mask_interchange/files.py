"""Files and folders that are written whole or not at all, hashed files, and folders that one process writes at a time.

What is being written stands in a folder `.writing-*` beside its target. The folder's lock ends with its process, so
what a killed process left is known, and removed when the next one writes to the same place.
"""

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO

from mask_interchange.errors import RunBusyError, RunError

TEMPORARY_PREFIX = ".writing-"
_TEMPORARY_FOLDER = TEMPORARY_PREFIX + 16 * "[0-9a-f]"  # no folder of a user is called so


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
    replace_whole(path, lambda temporary: temporary.write_bytes(data))


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file of the same name in a temporary folder; flush it to the disk, then rename it to `path`.

    Raises:
        OSError: names `path`; nothing is left behind.
    """
    with _naming(path), temporary_folder(path.parent) as folder:
        temporary = folder / path.name
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Context manager that yields an empty folder to fill. At the end its content is moved to `path`.

    Args:
        path: an empty folder, or nothing; its parents are made.

    Raises:
        RunError: there is something at `path` already.
        OSError: names `path`; on any error nothing is left behind.
    """
    remove_abandoned(path)
    is_new = not path.exists()
    if not is_new and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path}: expected a new or empty folder; delete it or give another one")
    with _naming(path):
        path.mkdir(parents=True, exist_ok=True)
        try:
            with temporary_folder(path) as folder:
                content = folder / "content"
                content.mkdir()
                yield content
                for part in sorted(content.iterdir(), key=Path.is_file):  # files describe folders: they come last
                    os.replace(part, path / part.name)
        except BaseException:
            if is_new:
                with suppress(OSError):
                    path.rmdir()
            raise


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Context manager that yields a new folder in `parent`; it is removed at the end with what is still in it.

    Those that killed processes left in `parent` are removed first.
    """
    remove_abandoned(parent)
    with ExitStack() as stack:
        yield _locked_folder(parent, stack)


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders in `parent` that no living process holds."""
    for folder in parent.glob(_TEMPORARY_FOLDER):
        with suppress(OSError, RunError), lock_folder(folder, shared=False):
            shutil.rmtree(folder)


def _locked_folder(parent: Path, stack: ExitStack) -> Path:
    """A new temporary folder that nobody else takes for abandoned; the stack unlocks and removes it."""
    while True:
        folder = parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        folder.mkdir()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            stack.enter_context(lock_folder(folder, shared=False))
        except (RunBusyError, FileNotFoundError):  # somebody took it for abandoned before it was locked
            continue
        except RunError:  # no locks on this file system, so nobody takes it for abandoned either
            return folder
        if folder.exists():
            return folder


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Make the system's errors about what is being written name the file or folder that the user asked for."""
    try:
        yield
    except OSError as error:
        if error.errno is None or TEMPORARY_PREFIX not in str(error.filename or TEMPORARY_PREFIX):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or the one that caused it, says that there is no room for what is written."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError):
            return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        seen.add(id(error))
        error = error.__cause__
    return False


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
