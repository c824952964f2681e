"""Files that are written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file through a temporary one beside it, safe on disk when this returns."""
    replace_whole(path, lambda partial: partial.write_bytes(content))


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a file that takes its place only once it is safe on disk."""
    partial = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
