"""Read checkpoint files. Nothing in a file is ever executed."""

import argparse
import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mask_interchange.files import file_sha256
from safetensors import safe_open
from torch import Tensor

from program_kit.errors import CheckpointError
from program_kit.origin import SUFFIX, Origin
from program_kit.tensor_shapes import PARALLEL_PREFIX, WRAPPERS, stranger
from program_kit.torch.checkpoint.table import StateDict

CHECKSUM = "tensors_sha256"  # metadata of files that this project writes: of all bytes after the header
NAMES_SHOWN = 10
DTYPES = {torch.float64, torch.float32, torch.float16, torch.bfloat16,
          torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}  # fmt: skip
NUMPY_SCALAR = np.float64().__reduce__()[0]  # the function behind every pickled numpy scalar
# Harmless types that training scripts leave beside the weights (arguments, the best loss); other code is refused.
SAFE_TYPES: list[Any] = [
    argparse.Namespace,
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    *((NUMPY_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),  # numpy 1 and 2
]


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a file.

    Attributes:
        path: the file.
        state: names to tensors, on the CPU. Where the kind of file allows it they are mapped, not loaded.
        origin: of a file that this project wrote, which has our names; None for one with published names.
    """

    path: Path
    state: StateDict
    origin: Origin | None = None

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return file_sha256(self.path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a published checkpoint (`torch.save` or safetensors) or a converted one.

    Wrappers (`{"model": {...}}`) and the prefix `module.` are taken off.

    Raises:
        CheckpointError: the file is missing, damaged, a web page or a pointer in its place, holds no weights, or could
            run code.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    if (what := stranger(path)) is not None:
        raise CheckpointError(f"{path}: {what}")
    if path.suffix == SUFFIX:
        return _read_safetensors(path)
    return Checkpoint(path, _without_prefix(_unwrap(_read_pickle(path), path)))


def tensors_sha256(path: Path) -> str:
    """SHA-256 of all tensors of a safetensors file, in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            metadata = file.metadata() or {}
        if CHECKSUM in metadata and metadata[CHECKSUM] != tensors_sha256(path):
            raise ValueError("its tensors differ from their checksum")
    except Exception as error:  # the library and torch raise many types for a file that is not what it should be
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({_first_line(error)}); fetch it again"
        ) from error
    return Checkpoint(path, _without_prefix(_unwrap(state, path)), Origin.of(metadata, path))


def _read_pickle(path: Path) -> Any:
    try:
        if is_archive := zipfile.is_zipfile(path):
            _check_archive(path)
        with torch.serialization.safe_globals(SAFE_TYPES):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except Exception as error:  # as above
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and (asked or _looks_whole(path)):
            raise CheckpointError(
                f"{path}: refused, because it is not made of tensors and plain values alone"
                f"{f' (it asks for {asked[1]})' if asked else ''} and unpickling it could run code. If you trust "
                "its origin, save its weights alone, as safetensors, where it was made"
            ) from error
        raise CheckpointError(f"{path}: damaged or not a checkpoint ({_first_line(error)}); fetch it again") from error


def _check_archive(path: Path) -> None:
    """Check the zip archive that `torch.save` writes against its checksums, which torch does not compare.

    Raises:
        ValueError, BadZipFile: it differs, or its entries are not stored as torch stores them.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):  # torch would map compressed bytes
            raise ValueError("its entries are compressed, which torch.save never does")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its entries overlap")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} differs from its checksum")


def _looks_whole(path: Path) -> bool:
    """Whether a file is a zip archive, or begins as a pickle does."""
    with path.open("rb") as file:
        return zipfile.is_zipfile(path) or file.read(1) == b"\x80"


def _unwrap(content: Any, path: Path) -> StateDict:
    if isinstance(content, Mapping):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    found = _fault(content)
    if found is None:
        return dict(content)
    raise CheckpointError(
        f"{path}: holds no weights; expected a dictionary of tensors, bare or under one of {', '.join(WRAPPERS)}, "
        f"found {found}"
    )


def _fault(content: Any) -> str | None:
    """What keeps a file's content from being a state dict; None for one."""
    if not isinstance(content, Mapping):
        return type(content).__name__
    if not content:
        return "an empty one"
    others = [str(name) for name, value in content.items() if not (isinstance(name, str) and _is_plain(value))]
    shown = others[:NAMES_SHOWN] + ["..."] * (len(others) > NAMES_SHOWN)
    return f"other entries: {', '.join(shown)}" if others else None


def _is_plain(value: object) -> bool:
    """Whether a value is a dense tensor of plain numbers."""
    return (
        isinstance(value, Tensor)
        and value.dtype in DTYPES
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_neg()
    )


def _without_prefix(state: StateDict) -> StateDict:
    if not all(name.startswith(PARALLEL_PREFIX) for name in state):
        return state
    return {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in state.items()}


def _first_line(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), "")
    return line if " " in line else f"{type(error).__name__} {line}".strip()  # a KeyError's text is a bare key
