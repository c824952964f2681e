"""Read checkpoint files. Nothing in a file is ever executed."""

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from mask_interchange.files import file_sha256
from safetensors import safe_open
from torch import Tensor

from program_kit.errors import CheckpointError
from program_kit.torch.checkpoint.table import StateDict

SUFFIX = ".safetensors"
FORMAT = "rvos-fusion 1"
WRAPPERS = ("model_state_dict", "model", "state_dict")  # where training scripts put the weights
PARALLEL_PREFIX = "module."
NAMES_SHOWN = 10
NUMPY_SCALAR = np.float64().__reduce__()[0]  # the function behind every pickled numpy scalar
# Harmless types that training scripts leave beside the weights (arguments, the best loss); other code is refused.
SAFE_TYPES: list[Any] = [
    argparse.Namespace,
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    *((NUMPY_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),  # numpy 1 and 2
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a file that this project wrote says of itself.

    Attributes:
        model: name of the model.
        config: name of its configuration.
        source_sha256: SHA-256 of the file that it was made from; empty for weights that were trained here.
    """

    model: str
    config: str
    source_sha256: str = ""

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of a safetensors file, in the layout `FORMAT`."""
        return {"format": FORMAT, "model": self.model, "config": self.config, "source_sha256": self.source_sha256}

    @classmethod
    def of(cls, metadata: Mapping[str, str], path: Path) -> Self | None:
        """From the metadata of a safetensors file; None for a file that others wrote.

        Files of version 0.1, the bundled `demo*.safetensors` among them, have other layouts: SOC, MUTR and ReferFormer
        name no format, AOT and DeAOT (`aot-deaot 1`) call the model `family`, UNINEXT (`uninext`) does not name it.

        Raises:
            CheckpointError: a later version wrote it.
        """
        layout = metadata.get("format", "")
        model = {"aot-deaot 1": metadata.get("family"), "uninext": "uninext"}.get(layout, metadata.get("model"))
        if model is None or "config" not in metadata:
            return None
        if layout.startswith("rvos-fusion") and layout != FORMAT:
            raise CheckpointError(f"{path}: expected format {FORMAT!r}, found {layout!r}; update this program")
        return cls(model=model, config=metadata["config"], source_sha256=metadata.get("source_sha256", ""))


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
        CheckpointError: the file is missing, damaged, holds no weights, or could run code.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    if path.suffix == SUFFIX:
        return _read_safetensors(path)
    return Checkpoint(path, _without_prefix(_unwrap(_read_pickle(path), path)))


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            metadata = file.metadata() or {}
    except Exception as error:  # the library and torch raise many types for a file that is not what it should be
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({_first_line(error)}); fetch it again"
        ) from error
    return Checkpoint(path, _without_prefix(state), Origin.of(metadata, path))


def _read_pickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(SAFE_TYPES):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # as above
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and (asked or _looks_whole(path)):
            raise CheckpointError(
                f"{path}: refused, because it is not made of tensors and plain values alone"
                f"{f' (it asks for {asked[1]})' if asked else ''} and unpickling it could run code. If you trust "
                "its origin, save its weights alone, as safetensors, where it was made"
            ) from error
        raise CheckpointError(f"{path}: damaged or not a checkpoint ({_first_line(error)}); fetch it again") from error


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
    others = [str(name) for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    shown = others[:NAMES_SHOWN] + ["..."] * (len(others) > NAMES_SHOWN)
    return f"other entries: {', '.join(shown)}" if others else None


def _without_prefix(state: StateDict) -> StateDict:
    if not all(name.startswith(PARALLEL_PREFIX) for name in state):
        return state
    return {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in state.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
