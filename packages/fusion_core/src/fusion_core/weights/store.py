"""Put weights into the user's folder: check what they are, copy them whole, and record their hashes."""

import errno
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from mask_interchange.errors import RunBusyError
from mask_interchange.files import lock_folder, replace_whole
from program_kit.errors import CheckpointError
from program_kit.origin import Origin
from program_kit.tensor_shapes import Shape, tensor_shapes
from program_kit.weights_folder import (
    VARIABLE,
    StoredFile,
    WeightsRecord,
    cached_sha256,
    folder_of,
    stored,
    weights_folder,
)
from program_kit.weights_table import PublishedFile, PublishedWeights, published, published_weights, users_of

from fusion_core.errors import FusionCoreError
from fusion_core.weights.catalogue import fault

SPARE = 2**26  # bytes that stay free on a disk
SUFFIXES = (".safetensors", ".json", ".txt", ".model")  # of what programs read; nothing that could run code
COMMANDS = ("infer", "propagate")  # end the names of programs
CHECKED = (".safetensors", ".pth", ".pt", ".tar", ".pkl", ".bin")  # files of tensors


class WeightsFilesError(FusionCoreError):
    """Weights that cannot be fetched, added or converted."""


@contextmanager
def working_on(name: str, status: Callable[[str], None]) -> Iterator[Path]:
    """Hold the folder of weights, after another process is done with it, and say plainly why it cannot be written.

    Raises:
        WeightsFilesError: no rights, or no room on the disk.
    """
    folder = folder_of(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, lambda: status(f"{name}: another process works on it; waiting")):
            yield folder
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise WeightsFilesError(f"{folder}: the disk is full; make room, the same command continues") from error
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT}:
            raise
        raise WeightsFilesError(
            f"{error.filename or folder}: cannot be written ({error.strerror}); {VARIABLE} names another folder"
        ) from error


@contextmanager
def _locked(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    told = False
    while True:
        try:
            with lock_folder(folder, shared=False):
                yield
            return
        except RunBusyError:
            if not told:
                waiting()
            told = True
            time.sleep(0.2)


def check_room(folder: Path, needed: int) -> None:
    """Check that so many bytes fit on the disk.

    Raises:
        WeightsFilesError: they do not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise WeightsFilesError(
            f"{folder}: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free; make room, or name a folder "
            f"on another disk in {VARIABLE}"
        )


def record(name: str, folder: Path, source: str, files: Mapping[str, Path], loads: str | None) -> None:
    """Record the hashes of files that are in place; programs find them from then on."""
    known = {file: StoredFile(size=path.stat().st_size, sha256=cached_sha256(path)) for file, path in files.items()}
    WeightsRecord(source=source, files=known, loads=loads).write(folder)


def add(name: str, path: Path, status: Callable[[str], None]) -> Path:
    """Take files that are elsewhere on this machine as the weights of a name.

    Args:
        name: in the table, or `hub:OWNER/NAME@COMMIT`.
        path: the file, or the folder that holds all of them.
        status: called with what is done, in words.

    Returns:
        Where they are now.

    Raises:
        WeightsError: there is no such name.
        WeightsFilesError: the files are missing, or are not these weights; or they cannot be written.
    """
    weights = None if name.startswith("hub:") else published(name)
    files = _files_of_commit(path) if weights is None else _files_to_add(weights, path)
    for file, source in files.items():
        check_file(weights, source, next((one for one in weights.files if one.name == file), None) if weights else None)
    there = stored(name)
    with working_on(name, status) as folder:
        if there is not None:
            _check_same(name, there, files)
            return there
        check_room(folder, sum(source.stat().st_size for source in files.values()))
        for file, source in files.items():
            status(f"{name}: copying {source}")
            replace_whole(folder / file, lambda temporary, source=source: shutil.copyfile(source, temporary))
        placed = {file: folder / file for file in files}
        loads = None if weights is None or weights.is_folder else next(iter(files))
        record(name, folder, str(path.absolute()), placed, loads)
        return folder / loads if loads else folder


def _files_of_commit(path: Path) -> dict[str, Path]:
    files = {file.name: file for file in path.iterdir() if file.name.endswith(SUFFIXES)} if path.is_dir() else {}
    if not any(name.endswith(".safetensors") for name in files):
        raise WeightsFilesError(f"{path}: expected a folder with a .safetensors file, found none")
    return files


def _files_to_add(weights: PublishedWeights, path: Path) -> dict[str, Path]:
    if not weights.is_folder:
        if not path.is_file():
            what = "not a file" if path.exists() else "no such file"
            raise WeightsFilesError(f"{path}: {what}; expected {weights.files[0].name} from {weights.source}")
        return {path.name: path}
    absent = [file.name for file in weights.files if not (path / file.name).is_file()]
    if absent:
        raise WeightsFilesError(
            f"{path}: expected a folder with {', '.join(file.name for file in weights.files)} from {weights.source}, "
            f"found no {' and no '.join(absent)} in it"
        )
    return {file.name: path / file.name for file in weights.files}


def _check_same(name: str, there: Path, files: Mapping[str, Path]) -> None:
    folder = folder_of(name)
    if any(not (folder / f).is_file() or cached_sha256(folder / f) != cached_sha256(p) for f, p in files.items()):
        raise WeightsFilesError(f"{there}: other weights are there under this name; delete {folder} to replace them")


def check_file(weights: PublishedWeights | None, path: Path, known: PublishedFile | None) -> None:
    """Check that a file is what it is taken for: by size and hash where they are known, and by the names in it.

    Args:
        weights: what it is taken for; None for weights that the table does not have.
        path: the file.
        known: what was published of it, if anything was.

    Raises:
        WeightsFilesError: it is not; says what it is, if that is known.
    """
    if known is not None and (found := fault(path, known)):
        raise WeightsFilesError(f"{path}: not the published file: {found}")
    if path.suffix not in CHECKED and (weights is None or weights.is_folder):
        return  # a configuration or a vocabulary
    try:
        found, origin = tensor_shapes(path), Origin.read(path)
    except CheckpointError as error:
        raise WeightsFilesError(str(error)) from error
    if weights is None or _is_of(weights, found, origin):
        return
    others = [other.name for other in published_weights().values() if other.tensors and _is_of(other, found, origin)]
    if others:
        raise WeightsFilesError(
            f"{path}: holds the weights of {others[0]}, by the names of its tensors, not of {weights.name}; "
            f"`uv run fusion-core weights add {others[0]} {path}` takes them"
        )
    raise WeightsFilesError(
        f"{path}: not the weights of {weights.name}: expected tensors such as {next(iter(weights.tensors))}, found "
        f"{', '.join(list(found)[:3])}"
    )


def _is_of(weights: PublishedWeights, found: Mapping[str, Shape], origin: Origin | None) -> bool:
    """Whether the tensors of a file are those of published weights; a converted file says so itself."""
    if origin is not None:
        return any((f"{origin.model}-{kind}", origin.config) in users_of(weights.name) for kind in COMMANDS)

    def has(pattern: str, shape: Shape = ()) -> bool:
        return any(fnmatchcase(name, pattern) and shape in ((), found[name]) for name in found)

    return all(has(*tensor) for tensor in weights.tensors.items()) and not any(map(has, weights.lacks))


def placed_by_hand(weights: PublishedWeights) -> Path | None:
    """Files that a user has put where they belong, or beside it, and that are not recorded yet."""
    name = weights.files[0].name
    candidates = [folder_of(weights.name) / name, weights_folder() / name]
    return next((path for path in candidates if path.is_file()), None)
