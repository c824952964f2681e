"""What the table of published weights lists, and the state of each on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from program_kit.weights_folder import RECORD, cached_sha256, folder_of, read_record, stored, weights_folder
from program_kit.weights_table import HubSource, PublishedFile, PublishedWeights, published, published_weights

from fusion_core.recipe.graph import Recipe
from fusion_core.recipe.weights import needed_weights

PART = ".part"  # ends the name of a file that is not whole yet


class State(StrEnum):
    """What is on this machine."""

    MISSING = "missing"
    PARTIAL = "partial"  # a download may continue
    THERE = "there"


class Verdict(StrEnum):
    """What the hash of a file says."""

    PUBLISHED = "as published"
    RECORDED = "as recorded"  # nobody published a hash: that of the first use counts
    WRONG = "wrong"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Published weights, and what is on this machine.

    Attributes:
        weights: as in the table.
        state: of the files.
        sha256: of each file: as published, else as recorded at first use; None where neither is known.
    """

    weights: PublishedWeights
    state: State
    sha256: dict[str, str | None]

    @property
    def is_there(self) -> bool:
        """Whether programs find them."""
        return self.state is State.THERE


def entries(recipe: Recipe | None = None) -> list[Entry]:
    """All published weights and the commits of the hub that are here, or what the models of a recipe take."""
    if recipe is not None:
        return [entry(published(name)) for name in needed_weights(recipe)]
    return [entry(one) for one in (*published_weights().values(), *_of_commits())]


def _of_commits() -> Iterator[PublishedWeights]:
    """Weights in the user's folder that the table does not have."""
    for file in sorted((weights_folder() / "hub").glob(f"*/{RECORD}")):
        source, record = HubSource.of_folder(file.parent.name), read_record(file.parent)
        if source is not None and record is not None:
            yield PublishedWeights(
                name=str(source),
                title="a commit of a repository",
                licence=f"its page tells: {source.page}",
                files=tuple(PublishedFile(name=name, size=kept.size) for name, kept in record.files.items()),
                hub=source.repository,
                commit=source.commit,
            )


def recorded() -> list[str]:
    """Names of all weights of which something was recorded in the user's folder, whether it is still there or not."""
    return [one.weights.name for one in entries() if read_record(folder_of(one.weights.name)) is not None]


def entry(weights: PublishedWeights) -> Entry:
    """The state of published weights."""
    folder = folder_of(weights.name)
    record = read_record(folder)
    recorded = {name: file.sha256 for name, file in record.files.items()} if record else {}
    known = {file.name: file.sha256 for file in weights.files}
    state = State.THERE if stored(weights.name) else State.PARTIAL if any(folder.glob("[!.]*")) else State.MISSING
    return Entry(weights=weights, state=state, sha256=known | {n: known.get(n) or h for n, h in recorded.items()})


def verdicts(name: str) -> dict[str, Verdict]:
    """Hash every file of weights that are there, against what is published and what was recorded.

    Args:
        name: in the table, or `hub:OWNER/NAME@COMMIT`.
    """
    folder = folder_of(name)
    record = read_record(folder)
    if record is None:
        return {name: Verdict.MISSING}
    known = {file.name: file for file in ([] if name.startswith("hub:") else published(name).files)}
    found: dict[str, Verdict] = {}
    for file, kept in record.files.items():
        path = folder / file
        if not path.is_file():
            found[file] = Verdict.MISSING
        elif cached_sha256(path) != kept.sha256 or (file in known and fault(path, known[file])):
            found[file] = Verdict.WRONG
        else:
            is_published = file in known and (known[file].sha256 or known[file].md5)
            found[file] = Verdict.PUBLISHED if is_published else Verdict.RECORDED
    return found


def fault(path: Path, expected: PublishedFile) -> str | None:
    """How a file differs from what was published, in words; None if it does not as far as that is known."""
    size = path.stat().st_size
    if expected.size is not None and size != expected.size:
        return f"expected {expected.size} bytes, found {size}"
    if expected.sha256 is not None and cached_sha256(path) != expected.sha256:
        return f"expected SHA-256 {expected.sha256}, found {cached_sha256(path)}"
    if expected.md5 is not None and (found := _md5(path)) != expected.md5:
        return f"expected MD5 {expected.md5}, found {found}"
    return None


def _md5(path: Path) -> str:
    from hashlib import file_digest

    with path.open("rb") as file:
        return file_digest(file, "md5").hexdigest()
