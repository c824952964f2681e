"""The table of published weights: their places, files, terms and programs. The data stands in `weights_table.toml`."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from program_kit.errors import WeightsError

TABLE = Path(__file__).with_name("weights_table.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """A file of published weights.

    Attributes:
        name: of the file.
        size: in bytes; None where nobody published it.
        sha256: 64 lower-case hexadecimal digits; None where nobody published it.
        md5: for publishers that give this one.
    """

    name: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """Weights that somebody published. One of `hub`, `url` and `page` says where.

    Attributes:
        name: what users call them.
        title: the model, in words.
        licence: of the code or of the weights, as their publisher states it.
        terms: of the data that they were trained on; empty where nothing is known to restrict them.
        files: those that a program reads; the first one holds tensors.
        hub: repository on the Hugging Face hub, `OWNER/NAME`.
        commit: of that repository, 40 hexadecimal digits.
        url: address of the only file.
        page: address to be opened in a browser; such files cannot be fetched by a program.
        tensors: some names of tensors with their shapes, by which the file is told from those of other models; in a
            name, `*` stands for any text; an empty shape for any.
        lacks: names that it does not have.
    """

    name: str
    title: str
    licence: str
    terms: str = ""
    files: tuple[PublishedFile, ...]
    hub: str | None = None
    commit: str | None = None
    url: str | None = None
    page: str | None = None
    tensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where they are: `hub:OWNER/NAME@COMMIT`, or an address."""
        return f"hub:{self.hub}@{self.commit}" if self.hub else self.url or self.page or ""

    @property
    def size(self) -> int | None:
        """Bytes of all files; None if that of one is unknown."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def megabytes(self) -> str:
        """The size of the tensors, in words; that of a configuration or vocabulary beside them is small."""
        size = self.files[0].size
        return "size unknown" if size is None else f"{size / 1e6:.0f} MB"

    @property
    def is_folder(self) -> bool:
        """Whether programs read a folder, not a file."""
        return len(self.files) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one configuration of a program reads.

    Attributes:
        weights: names of the published weights, by the program's network.
        tokenizer: name of the tokenizer, where it is a download of its own.
    """

    weights: Mapping[str, str]
    tokenizer: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.weights.values(), *([self.tokenizer] if self.tokenizer else []))


@cache
def published_weights() -> Mapping[str, PublishedWeights]:
    """All published weights that the programs take, by name."""
    return {name: _weights(name, entry) for name, entry in _table()["weights"].items()}


def _weights(name: str, entry: Mapping[str, Any]) -> PublishedWeights:
    files = tuple(PublishedFile(**file) for file in entry["files"])
    tensors = {tensor: tuple(shape) for tensor, shape in entry.get("tensors", {}).items()}
    lists = {"files": files, "tensors": tensors, "lacks": tuple(entry.get("lacks", ()))}
    return PublishedWeights(name=name, **{**entry, **lists})


@cache
def needs_of(program: str) -> Mapping[str, Needs]:
    """What the configurations of a program (`soc-infer`) read; empty for a program that the table does not have."""
    return {config: Needs(**needs) for config, needs in _table()["programs"].get(program, {}).items()}


def users_of(name: str) -> list[tuple[str, str]]:
    """The programs that read published weights, each with its configuration."""
    return [
        (program, config)
        for program in _table()["programs"]
        for config, needs in needs_of(program).items()
        if name in needs.names
    ]


def published(name: str) -> PublishedWeights:
    """Published weights by name.

    Raises:
        WeightsError: the table has none of that name; names those that are close.
    """
    table = published_weights()
    if name in table:
        return table[name]
    close = get_close_matches(name, table, cutoff=0.5) or list(table)
    raise WeightsError(f"weights {name!r}: there are none of that name; did you mean {_either(close)}?")


def fetching(names: Sequence[str]) -> str:
    """The command that fetches weights of the table, with their sizes and licences, as a part of a sentence."""
    about = []
    for weights in map(published, names):
        size = weights.files[0].size  # the tensors; other files are small, and the sizes of some are unknown
        about.append(f"{weights.name}: {f'{size / 1e6:.0f} MB' if size else 'size unknown'}, {weights.licence}")
    return f"`uv run fusion-core weights fetch {' '.join(names)}` fetches published ones ({'; '.join(about)})"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A commit of a repository on the Hugging Face hub: `hub:OWNER/NAME@COMMIT`."""

    repository: str
    commit: str

    @classmethod
    def parse(cls, text: str) -> "HubSource":
        """Read the text of a source.

        Raises:
            WeightsError: it has another form, or names a branch or tag in place of a commit.
        """
        match = re.fullmatch(r"hub:(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?", text)
        if not match:
            raise WeightsError(f"weights {text}: expected hub:OWNER/NAME@COMMIT")
        repository, commit = match[1], match[2] or ""
        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            raise WeightsError(
                f"weights {text}: expected a commit of 40 hexadecimal digits after @, found {commit or 'none'}; what a "
                f"branch names may change. https://huggingface.co/{repository}/commits/main lists the commits"
            )
        return cls(repository, commit)

    @classmethod
    def of_folder(cls, name: str) -> "HubSource | None":
        """The source whose `folder` has this name, if there is one."""
        try:
            return cls.parse(f"hub:{name.replace('--', '/', 1)}")
        except WeightsError:
            return None

    @property
    def folder(self) -> str:
        """Name of a folder for its files."""
        return f"{self.repository.replace('/', '--')}@{self.commit}"

    @property
    def page(self) -> str:
        """Address at which people look at it."""
        return f"https://huggingface.co/{self.repository}/tree/{self.commit}"

    def __str__(self) -> str:
        return f"hub:{self.repository}@{self.commit}"


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def _either(names: Iterable[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} or {last}" if some else last
