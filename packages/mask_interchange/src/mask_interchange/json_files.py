"""Reads JSON and text files of users; errors name the file and the place in it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from mask_interchange.errors import DatasetError, MaskInterchangeError
from mask_interchange.files import open_regular

MAX_DEPTH = 64
MAX_DIGITS = 4300  # of a whole number; Python itself refuses more, in words about Python
V = TypeVar("V")
Json = Mapping[str, object]

_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class JsonPlace:
    """A place in a JSON file; as text it is `file: videos.dog.frames`."""

    file: Path
    keys: str = ""

    def __truediv__(self, key: str) -> "JsonPlace":
        return JsonPlace(self.file, f"{self.keys}.{key:.80}" if self.keys else f"{key:.80}")

    def __str__(self) -> str:
        return f"{self.file}: {self.keys or 'top level'}"

    def typed(self, value: object, kind: type[V]) -> V:
        """`value`, which stands here, if it is of this kind.

        Raises:
            DatasetError: says what was expected and found.
        """
        # In Python True is an int; in JSON it is not.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise DatasetError(f"{self}: expected {_NAMES[kind]}, found {_NAMES[type(value)]}")
        return value

    def get(self, tree: object, key: str, kind: type[V]) -> V:
        """The value of a key of the object `tree`, which stands here."""
        objects = self.typed(tree, dict)
        if key not in objects:
            raise DatasetError(f"{self / key}: expected {_NAMES[kind]}, found no such key")
        return (self / key).typed(objects[key], kind)

    def optional(self, tree: object, key: str, kind: type[V]) -> V | None:
        """As `get`; None when the key is absent or null."""
        return None if self.typed(tree, dict).get(key) is None else self.get(tree, key, kind)


@contextmanager
def errors_at(place: JsonPlace) -> Iterator[JsonPlace]:
    """Turn a record's complaint about what stands at a place into a DatasetError that names the place."""
    try:
        yield place
    except DatasetError:
        raise
    except (MaskInterchangeError, ValueError, TypeError, OverflowError) as error:
        raise DatasetError(f"{place}: {error}") from error


def read_json(file: Path) -> tuple[JsonPlace, object]:
    """The content of a JSON file, and the place of its top level.

    Raises:
        DatasetError: the file cannot be read, is not UTF-8, or breaks a rule of `parse_json`.
    """
    try:
        return JsonPlace(file), parse_json(read_utf8(file))
    except ValueError as error:
        raise DatasetError(f"{file}: {error}") from error


def parse_json(text: str) -> object:
    """The value of a JSON text that nobody vouches for.

    Raises:
        ValueError: it is not JSON (says where), has a key twice in one object, a number of too many digits, or more
            than `MAX_DEPTH` lists and objects inside each other, which only an attack needs: functions that call
            themselves for each level, in Python's own library too, would fail later and elsewhere.
    """
    brackets = re.sub(r'"(?:[^"\\]|\\.)*+"?|[^"\[\]{}]+', "", text, flags=re.DOTALL)
    opens = np.isin(np.frombuffer(brackets.encode(), np.uint8), [ord("["), ord("{")])
    depth = int(np.where(opens, 1, -1).cumsum().max(initial=0))
    if depth > MAX_DEPTH:
        raise ValueError(f"expected at most {MAX_DEPTH} lists and objects inside each other, found {depth}")
    try:
        return json.loads(text, object_pairs_hook=_no_repeats, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error


def _whole_number(digits: str) -> int:
    if len(digits.removeprefix("-")) > MAX_DIGITS:
        raise ValueError(f"expected numbers of at most {MAX_DIGITS} digits, found {digits:.20}... with {len(digits)}")
    return int(digits)


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for name, value in pairs:
        if name in tree:
            raise ValueError(f"the key {name!r:.80} occurs twice in one object")
        tree[name] = value
    return tree


def read_utf8(file: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        DatasetError: the file cannot be read or is not UTF-8; names the byte.
    """
    try:
        with open_regular(file) as stream:
            raw = stream.read()
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{file}: expected UTF-8 text, found byte 0x{raw[error.start]:02x} at offset {error.start}; "
            "save the file as UTF-8"
        ) from error


def write_lists(
    path: Path, first: str, entries: Iterable[object], others: Iterable[tuple[str, list[dict[str, object]]]]
) -> None:
    """Write a JSON object of lists, of which the first is never in memory as a whole.

    Args:
        path: the file.
        first: the key of the first list.
        entries: what stands in it, one line each.
        others: keys and lists that follow; asked for when `entries` has ended.

    Raises:
        OSError: the file cannot be written.
    """
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{{{json.dumps(first)}: [")
        for i, entry in enumerate(entries):
            file.write(f"{',' if i else ''}\n{json.dumps(entry)}")
        file.write("\n]")
        for key, values in others:
            file.write(f",\n{json.dumps(key)}: {json.dumps(values)}")
        file.write("}\n")
