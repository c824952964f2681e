"""Reads pickles that hold plain values only: `refs(unc).p` of RefCOCO.

A pickle is a program. Its operations are looked through before any is carried out: only those that make numbers, text,
lists and dictionaries may be there, so nothing is imported and nothing is called.
"""

import io
import pickle
import pickletools
from pathlib import Path

from mask_interchange import DatasetError
from mask_interchange.files import open_regular

_ALLOWED = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK"),
        *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
        *("FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
        *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
    )
)
_STORES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


class _NothingElse(pickle.Unpickler):
    """An unpickler that finds no class and no function."""

    def find_class(self, module_name: str, global_name: str) -> object:
        raise pickle.UnpicklingError(f"asks for {module_name}.{global_name}")


def read_plain_pickle(path: Path) -> object:
    """The value of a pickle of plain values.

    Raises:
        DatasetError: the file cannot be read, is no pickle, or holds anything but plain values; nothing of it was run.
    """
    try:
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        _check(data)
        return _NothingElse(io.BytesIO(data), encoding="utf-8").load()
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except Exception as error:  # pickle raises many types for a damaged file
        raise DatasetError(f"{path}: not a pickle of plain values: {error}") from error


def _check(data: bytes) -> None:
    for operation, argument, position in pickletools.genops(data):
        if operation.name not in _ALLOWED:
            raise DatasetError(
                f"expected numbers, text, lists and dictionaries, found the operation {operation.name} at byte "
                f"{position}, which may run code; nothing was run"
            )
        # Python makes a table as long as the largest number under which something is stored.
        if operation.name in _STORES and isinstance(argument, int) and argument > len(data):
            raise DatasetError(f"stores a value under the number {argument}, more than the file has bytes")
