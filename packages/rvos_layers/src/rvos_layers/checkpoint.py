"""Published checkpoints into our modules: a readable table of names, and a loader that forgives nothing.

A table is a sequence of rules, one for each name or family of names. `{i}` in a pattern stands for one dot-separated
part, `{*}` for any number of them:

    Rename("class_embed.{i}.{*}", "class_heads.{i}.{*}")
    Alias("transformer.decoder.bbox_embed.{*}", of="bbox_embed.{*}")       # the same tensor stored twice
    Constant("text_encoder.embeddings.position_ids", "text_encoder.roberta.embeddings.position_ids")
    Drop("extra.{*}", reason="why our model has no use for it")

Every published name must be claimed by a rule (the first that matches), every entry of ours must be filled once with
its exact shape, aliases must equal what they repeat and constants what the configuration implies. All that is wrong is
listed in one error.
"""

import argparse
import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rvos_layers.errors import CheckpointError

StateDict: TypeAlias = dict[str, Tensor]

WRAPPERS = ("model_state_dict", "model", "state_dict")  # where training scripts put the weights
PARALLEL_PREFIX = "module."
CONVERTED_SUFFIX = ".safetensors"
NUMPY_SCALAR = np.float64().__reduce__()[0]  # the function behind every pickled numpy scalar
# Harmless types that training scripts leave beside the weights (arguments, the best loss); other code is refused.
SAFE_TYPES: list[Any] = [
    argparse.Namespace,
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    *((NUMPY_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),  # numpy 1 and 2
]


# ---- the table


@dataclass(frozen=True, slots=True)
class Rename:
    """Published entry `published` becomes our entry `ours`."""

    published: str
    ours: str


@dataclass(frozen=True, slots=True)
class Alias:
    """Published entry `published` repeats published entry `of`."""

    published: str
    of: str


@dataclass(frozen=True, slots=True)
class Constant:
    """Published numbers that must equal our buffer `ours`, in whatever layout: the configuration implies them."""

    published: str
    ours: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Published entry that our model has no use for."""

    published: str
    reason: str


Rule: TypeAlias = Rename | Alias | Constant | Drop
WILDCARD = re.compile(r"\{(\*|\w+)\}")


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = WILDCARD.split(template)
    wild = [f"(?P<{_group(name)}>{'.+' if name == '*' else '[^.]+'})" for name in parts[1::2]]
    literal = [re.escape(part) for part in parts[0::2]]
    return re.compile("".join(a + b for a, b in zip(literal, [*wild, ""], strict=True)))


def _group(name: str) -> str:
    return "rest" if name == "*" else name


def _fill_in(template: str, match: re.Match[str]) -> str:
    return WILDCARD.sub(lambda wild: match[_group(wild[1])], template)


# ---- conversion


def convert(published: Mapping[str, Tensor], table: Sequence[Rule], model: nn.Module, source: str) -> StateDict:
    """Turn a published state dict into one that `model.load_state_dict(..., strict=True)` accepts.

    Args:
        published: names as published, without `module.`; not changed.
        table: the model's rules.
        model: says which entries must be filled and with which shapes, and holds the constants.
        source: what the state dict is, for the message.

    Returns:
        our names to float32 tensors.

    Raises:
        CheckpointError: lists every unknown, missing, misshapen, contradicting or non-finite entry.
    """
    expected, buffers = model.state_dict(), dict(model.named_buffers())
    filled: dict[str, str] = {}  # our name -> published name
    unknown, wrong = [], []
    for name, tensor in published.items():
        rule, match = _claim(name, table)
        match rule:
            case Rename() if (ours := _fill_in(rule.ours, match)) in expected:
                fault = _misfit(tensor, expected[ours])
                if ours in filled:
                    fault = f"stands for the same entry as {filled[ours]}"
                filled[ours] = name
            case Alias():
                fault = _difference(tensor, published.get(_fill_in(rule.of, match)), _fill_in(rule.of, match))
            case Constant() if (ours := _fill_in(rule.ours, match)) in buffers:
                implied = buffers[ours].reshape(tensor.shape) if tensor.numel() == buffers[ours].numel() else None
                fault = _difference(tensor, implied, "what the configuration implies")
            case Drop():
                fault = None
            case _:
                unknown.append(f"{name} {_shape(tensor)}")
                continue
        if fault:
            wrong.append(f"{name}: {fault}")
    missing = [f"{name} {_shape(tensor)} (our name)" for name, tensor in expected.items() if name not in filled]
    _raise_listed(source, {"unknown": unknown, "missing": missing, "wrong": wrong})
    return {ours: published[name].float() for ours, name in filled.items()}


def our_name(published: str, table: Sequence[Rule]) -> str | None:
    """What a published entry, or the one that it is a copy of, is called here; None when it is no entry of ours."""
    rule, match = _claim(published, table)
    match rule:
        case Rename():
            return _fill_in(rule.ours, match)
        case Alias():
            return our_name(_fill_in(rule.of, match), table)
        case _:
            return None


def _claim(name: str, table: Sequence[Rule]) -> tuple[Rule | None, Any]:
    for rule in table:
        if match := _pattern(rule.published).fullmatch(name):
            return rule, match
    return None, None


def _misfit(tensor: Tensor, expected: Tensor) -> str | None:
    if tensor.shape != expected.shape:
        return f"expected shape {_shape(expected)}, found {_shape(tensor)}"
    if not tensor.is_floating_point():
        return f"expected floating point numbers, found {tensor.dtype}"
    if not tensor.isfinite().all():
        return "has values that are not finite"
    return None


def _difference(tensor: Tensor, twin: Tensor | None, name: str) -> str | None:
    return None if twin is not None and torch.equal(tensor, twin.to(tensor)) else f"must equal {name}, but does not"


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join(map(str, tensor.shape)) + "]"


def _raise_listed(source: str, faults: Mapping[str, Sequence[str]]) -> None:
    groups = [f"{kind} ({len(found)}):\n    " + "\n    ".join(found) for kind, found in faults.items() if found]
    if groups:
        raise CheckpointError(
            f"{source}: does not fit the model; check that the file belongs to this model and configuration\n  "
            + "\n  ".join(groups)
        )


# ---- files


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a file.

    Attributes:
        path: the file.
        state: names to tensors, unwrapped and without `module.`.
        metadata: of a file that `save_converted` wrote (`model`, `config`, `source_sha256`); empty for a published one.
    """

    path: Path
    state: StateDict
    metadata: dict[str, str]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, as hexadecimal digits."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a published checkpoint (`torch.save` or safetensors) or a converted one. Code in a pickle is never run.

    Raises:
        CheckpointError: the file is missing, damaged, holds no weights, or could run code.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    if path.suffix == CONVERTED_SUFFIX:
        state, metadata = _read_safetensors(path)
    else:
        state, metadata = _unwrap(_read_pickle(path), path), {}
    if all(name.startswith(PARALLEL_PREFIX) for name in state):
        state = {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in state.items()}
    return Checkpoint(path, state, metadata)


def _read_safetensors(path: Path) -> tuple[StateDict, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}); fetch it again") from error


def _read_pickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(SAFE_TYPES):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise CheckpointError(
            f"{path}: refused, because it is not made of tensors and plain values alone"
            f"{f' (it asks for {found[1]})' if found else ''} and unpickling it could run code. If you trust "
            "its origin, save its weights alone, as safetensors, where it was made"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or not a checkpoint ({error}); fetch it again") from error


def _unwrap(content: Any, path: Path) -> StateDict:
    if isinstance(content, Mapping):
        for key in WRAPPERS:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        found = sorted(map(str, content))[:10] if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(
            f"{path}: holds no weights; expected a dictionary of tensors, bare or under one of {WRAPPERS}, "
            f"found {found}"
        )
    return dict(content)


def load_weights(model: nn.Module, checkpoint: Checkpoint, table: Sequence[Rule], *, name: str, config: str) -> None:
    """Fill a model from a published or a converted checkpoint, strictly.

    Args:
        model: filled in place.
        checkpoint: from `read_checkpoint`.
        table: the model's rules for published names.
        name: the model's name, which a converted file must carry.
        config: name of its configuration, likewise.

    Raises:
        CheckpointError: see `convert`; or the file was converted for another model or configuration.
    """
    if checkpoint.metadata.get("model"):
        for key, wanted in (("model", name), ("config", config)):
            if checkpoint.metadata.get(key) != wanted:
                raise CheckpointError(
                    f"{checkpoint.path}: was converted for {key} {checkpoint.metadata.get(key)!r}, not for {wanted!r}"
                )
        table = [Rename("{*}", "{*}")]
    model.load_state_dict(convert(checkpoint.state, table, model, str(checkpoint.path)), strict=True)


def save_converted(path: Path, model: nn.Module, *, name: str, config: str, source_sha256: str) -> None:
    """Write a model's weights as safetensors, with where they came from; replaces the file in one step."""
    if path.suffix != CONVERTED_SUFFIX:
        raise CheckpointError(f"{path}: a converted checkpoint is written as *{CONVERTED_SUFFIX}")
    metadata = {"model": name, "config": config, "source_sha256": source_sha256}
    state = {entry: tensor.detach().cpu().contiguous() for entry, tensor in model.state_dict().items()}
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, partial, metadata)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: cannot be written ({error})") from error
