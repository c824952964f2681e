"""Bring published weights to this machine: what is there first, then the network."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from program_kit.weights_folder import stored
from program_kit.weights_table import HubSource, PublishedFile, PublishedWeights, published

from fusion_core.weights import hub, web
from fusion_core.weights.catalogue import PART
from fusion_core.weights.store import WeightsFilesError, add, check_file, check_room, placed_by_hand, record, working_on

DRIVE = "https://drive.google.com/"


def fetch(name: str, status: Callable[[str], None], progress: web.Progress) -> Path:
    """Fetch weights, or what is missing of them, into the user's folder.

    Args:
        name: in the table, or `hub:OWNER/NAME@COMMIT`.
        status: called with what is done, in words.
        progress: called with bytes that are there and in all, of each file.

    Returns:
        The file or folder that programs read.

    Raises:
        WeightsError: there is no such name, or no commit where one is needed.
        WeightsFilesError: they cannot be fetched; says what to do.
    """
    weights = None if name.startswith("hub:") else published(name)
    source = HubSource.parse(name if weights is None else weights.source) if weights is None or weights.hub else None
    if (there := stored(name)) is not None:
        return there
    if weights is not None and (placed := placed_by_hand(weights)):
        status(f"{name}: found {placed}")
        return add(name, placed, status)
    with working_on(name, status) as folder:
        if (there := stored(name)) is not None:  # another process was at it
            return there
        if source is not None:
            _from_hub(name, weights, source, folder, status, progress)
        elif weights is not None and weights.url is not None:
            _from_web(weights, folder, status, progress)
        elif weights is not None:
            _from_page(weights, folder, status)
    path = stored(name)
    assert path is not None  # it was recorded
    return path


def _from_hub(
    name: str,
    weights: PublishedWeights | None,
    source: HubSource,
    folder: Path,
    status: Callable[[str], None],
    progress: web.Progress,
) -> None:
    listed = {file.name: file for file in hub.listed_files(source, name)}
    known = {file.name: file for file in weights.files} if weights else listed
    for file in known.values():
        if file.name not in listed:
            if file.sha256:
                raise WeightsFilesError(f"{source}: expected {file.name}, found only {', '.join(listed)}")
            status(f"{name}: the repository has no {file.name} at this commit")
    wanted = [listed[file] for file in known if file in listed]
    missing = [file for file in wanted if not (folder / file.name).is_file()]
    check_room(folder, sum(file.size or 0 for file in missing))
    status(f"{name}: {sum(file.size or 0 for file in missing) / 1e6:.0f} MB from {source}")
    for file in missing:
        web.finish(hub.download(source, file.name, folder, progress), folder / file.name)
    for file in wanted:
        _check(weights, folder / file.name, [file, known[file.name]])
    record(name, folder, str(source), {file.name: folder / file.name for file in wanted}, None)


def _from_web(weights: PublishedWeights, folder: Path, status: Callable[[str], None], progress: web.Progress) -> None:
    assert weights.url is not None  # the caller's choice
    (file,) = weights.files
    by_hand = f"fetch it elsewhere and run `uv run fusion-core weights add {weights.name} {file.name}`"
    web.check_online(weights.url, by_hand)
    status(f"{weights.name}: from {weights.url}")
    _place(weights, web.download(weights.url, folder / file.name, progress), folder / file.name)


def _from_page(weights: PublishedWeights, folder: Path, status: Callable[[str], None]) -> None:
    assert weights.page is not None  # the caller's choice
    (file,) = weights.files
    size = f", {file.size / 1e6:.0f} MB" if file.size else ""
    by_hand = (
        f"{weights.name}: only a browser gets this file: open {weights.page}, save {file.name}{size}, then "
        f"`uv run fusion-core weights add {weights.name} PATH`, which puts it into {folder}"
    )
    if not weights.page.startswith(DRIVE) or find_spec("gdown") is None:
        command = f"uv run --package fusion-core --extra drive fusion-core weights fetch {weights.name}"
        extra = f"; or try `{command}`, which Drive often refuses" if weights.page.startswith(DRIVE) else ""
        raise WeightsFilesError(by_hand + extra)
    from fusion_core.weights import drive

    try:
        part = drive.download(weights.page, folder / (file.name + PART))
    except WeightsFilesError as error:
        raise WeightsFilesError(f"{error}. {by_hand}") from error
    _place(weights, part, folder / file.name)


def _place(weights: PublishedWeights, part: Path, target: Path) -> None:
    """Give a file that came whole its name, check it and record it."""
    web.finish(part, target)
    _check(weights, target, weights.files)
    record(weights.name, target.parent, weights.source, {target.name: target}, target.name)


def _check(weights: PublishedWeights | None, path: Path, expected: Iterable[PublishedFile]) -> None:
    """Check a file that came whole, and delete it if it is not the one expected."""
    try:
        for known in expected:
            check_file(weights, path, known)
    except WeightsFilesError as error:
        path.unlink()
        raise WeightsFilesError(f"{error}; it was deleted, try again later") from error
