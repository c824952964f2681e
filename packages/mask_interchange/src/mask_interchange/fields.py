"""One map of a `.masks` file, read field by field: every value is checked, and every fault names its place."""

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from mask_interchange.errors import MaskFileError, MaskInterchangeError

MAX_UNPACKED = 2**29  # bytes of all masks and soft masks of a file after decompression

V = TypeVar("V")

_PIECE = 2**16  # bytes that are decompressed at a time


class Fields:
    """One map of a file, read field by field; knows its place for messages."""

    def __init__(self, path: Path | str, place: str, tree: object, keys: tuple[str, ...]):
        self._path = path
        self._place = place
        if not isinstance(tree, dict):
            raise MaskFileError(path, place or "payload", "a map", _kind(tree))
        if tree.keys() != set(keys):
            found = ", ".join(map(str, tree))
            raise MaskFileError(path, place or "payload", f"the keys {', '.join(keys)}", found[:200] or "none")
        self._tree: Mapping[str, object] = tree

    def inner(self, key: str, keys: tuple[str, ...]) -> "Fields":
        """The map at `key`, which must have these keys."""
        return Fields(self._path, self._at(key), self._tree[key], keys)

    def inner_at(self, key: str, i: int, keys: tuple[str, ...]) -> "Fields":
        """The map at place `i` of the array at `key`."""
        return Fields(self._path, self._at(f"{key}[{i}]"), self.typed(key, list)[i], keys)

    def typed(self, key: str, kind: type[V]) -> V:
        """The value at `key`, which must be of this type."""
        value = self._tree[key]
        if not isinstance(value, kind):
            raise self.fault(key, _NAMES[kind], _kind(value))
        return value

    def text(self, key: str) -> str:
        """The text at `key`."""
        return self.typed(key, str)

    def integer(self, key: str, low: int, high: int) -> int:
        """The integer at `key`, from `low` to `high`."""
        value = self.typed(key, int)
        if isinstance(value, bool) or not low <= value <= high:
            raise self.fault(key, f"an integer from {low} to {high}", repr(value))
        return value

    def numbers(self, key: str, count: int, kind: str) -> np.ndarray:
        """`count` numbers of the numpy type `kind`, stored as bytes."""
        raw = self.typed(key, bytes)
        expected = count * np.dtype(kind).itemsize
        if len(raw) != expected:
            raise self.fault(key, f"{count} numbers in {expected} bytes", f"{len(raw)} bytes")
        return np.frombuffer(raw, kind)

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of texts."""
        values = self.typed(key, list)
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise self.fault(f"{key}[{i}]", _NAMES[str], _kind(value))
        return tuple(values)

    def maybe(self, key: str, read: Callable[[str], V]) -> V | None:
        """What `read` makes of `key`, or None where nil stands."""
        return None if self._tree[key] is None else read(key)

    def unpacked(self, key: str, size: int, budget: "Budget") -> bytearray:
        """`size` bytes out of a zlib stream; a longer one is noticed without unpacking it."""
        if not budget.take(size):
            raise self.fault(key, f"at most {MAX_UNPACKED} bytes after decompression in a file", f"{size} more")
        packed = memoryview(self.typed(key, bytes))
        stream = zlib.decompressobj()
        raw = bytearray()  # grows with what is there; zlib's own buffers would take the result twice
        try:
            while not stream.eof and len(raw) <= size:
                piece = stream.unconsumed_tail
                if not piece:
                    piece, packed = packed[:_PIECE], packed[_PIECE:]
                more = stream.decompress(piece, min(_PIECE, size + 1 - len(raw)))
                if not piece and not more:
                    break
                raw += more
        except zlib.error as error:
            raise self.fault(key, f"a zlib stream of {size} bytes", str(error)) from error
        behind = len(stream.unused_data) + len(packed)
        if len(raw) != size or not stream.eof or behind:
            found = f"{len(raw)} bytes{'' if stream.eof else ' and no end'}, {behind} behind the end"
            raise self.fault(key, f"a zlib stream of {size} bytes", found)
        return raw

    def made(self, record: type[V], **fields: object) -> V:
        """A record of these fields; its own complaint becomes a fault of this map."""
        try:
            return record(**fields)
        except MaskInterchangeError as error:
            raise MaskFileError(self._path, self._place or "payload", "a sound record", str(error)) from error

    def fault(self, key: str, expected: str, found: str) -> MaskFileError:
        """An error about the field `key`."""
        return MaskFileError(self._path, self._at(key), expected, found)

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key


class Budget:
    """Bytes that a file may still decompress to."""

    def __init__(self, size: int):
        self._left = size

    def take(self, size: int) -> bool:
        """Whether `size` bytes more are allowed."""
        self._left -= size
        return self._left >= 0


_NAMES: dict[type, str] = {str: "text", bytes: "bytes", int: "an integer", list: "an array", dict: "a map"}


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)
