"""TOML files whose faults are told with their line.

The standard library gives the values and the line of a syntax error; the positions of keys come from the tree-sitter
grammar, since no error about a value could name its line otherwise.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_toml

from fusion_core.errors import RecipeError

MAX_BYTES = 2**20
Keys = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TomlFile:
    """A file's values, and where its keys stand.

    Attributes:
        path: for messages.
        values: the whole tree.
        lines: line, counted from 1, where each table and key is named first, by the keys that lead there.
    """

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[Keys, int]

    def fault(self, message: str, at: Keys) -> RecipeError:
        """An error that names the file and the line of the deepest of the keys `at` that the file has."""
        line = next((self.lines[at[:depth]] for depth in range(len(at), 0, -1) if at[:depth] in self.lines), None)
        return RecipeError(f"{self.path}{'' if line is None else f', line {line}'}: {message}", at)


def read_toml(path: Path) -> TomlFile:
    """Read a TOML file.

    Raises:
        RecipeError: it cannot be read, is not TOML (names line and column), or is larger than `MAX_BYTES`.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise RecipeError(f"{path}: expected a file of at most {MAX_BYTES} bytes, found a larger one")
    try:
        values = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise RecipeError(f"{path}: not a TOML file: {error}") from error
    lines: dict[Keys, int] = {}
    for keys, line in _named(text):
        for depth in range(1, len(keys) + 1):
            lines.setdefault(keys[:depth], line)
    return TomlFile(path=path, values=values, lines=lines)


def _named(text: bytes) -> Iterator[tuple[Keys, int]]:
    """Keys of all tables and values in a sound TOML text, and their lines."""
    grammar = tree_sitter.Language(tree_sitter_toml.language())
    for item in tree_sitter.Parser(grammar).parse(text).root_node.named_children:
        if item.type == "pair":
            yield from _pair(item, ())
        elif item.type in {"table", "table_array_element"}:
            name, *pairs = [child for child in item.named_children if child.type != "comment"]
            table = _keys(name)
            yield table, name.start_point.row + 1
            for pair in pairs:
                yield from _pair(pair, table)


def _pair(pair: tree_sitter.Node, table: Keys) -> Iterator[tuple[Keys, int]]:
    key, value = [child for child in pair.named_children if child.type != "comment"]
    keys = (*table, *_keys(key))
    yield keys, key.start_point.row + 1
    if value.type == "inline_table":
        for inner in value.named_children:
            if inner.type == "pair":
                yield from _pair(inner, keys)


def _keys(node: tree_sitter.Node) -> Keys:
    """The parts of a key as the standard library reads them: `a."b.c"` is ("a", "b.c")."""
    tree: Any = tomllib.loads(f"{(node.text or b'').decode()} = 0")
    keys = []
    while isinstance(tree, dict):
        ((key, tree),) = tree.items()
        keys.append(key)
    return tuple(keys)
