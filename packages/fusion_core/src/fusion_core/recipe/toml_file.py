"""TOML files whose errors name the line.

The standard library gives the values, and the line of a syntax error. The lines of keys come from the tree-sitter
grammar, so that an error about a value can name its line.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_toml
from mask_interchange.files import open_regular

from fusion_core.errors import RecipeError

MAX_BYTES = 2**18
MAX_PARTS = 16  # of a dotted key; the standard library takes a time that grows with their square
Keys = tuple[str, ...]

# Strings, comments and keys of a TOML text, valid or not. Nothing is looked at twice, so odd texts stay quick.
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_TOKEN = re.compile(
    "|".join(
        (
            r'"""(?:[^"\\]|\\.|"(?!""))*+(?:""")?+',
            r"'''(?:[^']|'(?!''))*+(?:''')?+",
            r"#[^\n]*+",
            rf"(?P<long>{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MAX_PARTS},}}+)",
            _PART,
            r'"[^\n]*+',  # a string without an end
            r"'[^\n]*+",
        )
    ),
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class TomlFile:
    """The values of a file, and the lines of its keys.

    Attributes:
        path: for messages.
        values: the whole tree.
        lines: line, counted from 1, on which each table and key is named first, by the keys that lead there.
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
        RecipeError: it cannot be read, is not TOML (names line and column), has more than `MAX_BYTES` bytes or a key of
            more than `MAX_PARTS` parts.
    """
    try:
        with open_regular(path) as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise RecipeError(f"{path}: expected a file of at most {MAX_BYTES} bytes, found a larger one")
    try:
        decoded = text.decode()
        _check_keys(decoded)
        values = tomllib.loads(decoded)
        _check_values(values)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise RecipeError(f"{path}: not a TOML file: {error}") from error
    lines: dict[Keys, int] = {}
    for keys, line in _named(text):
        for depth in range(1, len(keys) + 1):
            lines.setdefault(keys[:depth], line)
    return TomlFile(path=path, values=values, lines=lines)


def _check_keys(text: str) -> None:
    """Raise ValueError for a key of too many parts."""
    for token in _TOKEN.finditer(text):
        if token["long"] is not None:
            line = text.count("\n", 0, token.start()) + 1
            found = f"{token['long']:.40}... (at line {line})"
            raise ValueError(f"expected keys of at most {MAX_PARTS} parts, found {found}")


def _check_values(values: Mapping[str, Any]) -> None:
    """Raise ValueError for a whole number of more than 64 bits, as TOML asks, and for NUL, which no program takes."""
    pending: list[Any] = [values]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"expected whole numbers of at most 64 bits, found one of {value.bit_length()}")
        elif isinstance(value, str) and "\0" in value:
            raise ValueError(f"expected text without NUL, found {value!r:.40}")


def _named(text: bytes) -> Iterator[tuple[Keys, int]]:
    """Keys of all tables and values in a valid TOML text, and their lines."""
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
