"""From published names to ours: a readable table, and a conversion that lists everything that does not fit.

A table is a sequence of rules, one for each name or family of names. `{i}` in a pattern stands for one dot-separated
part or a piece of one, `{*}` for any number of parts:

    Rename("class_embed.{i}.{*}", "class_heads.{i}.{*}")
    Rename("norm{i}.gamma.weight", "norms.{i}.gamma", reshape=True)        # the same numbers, published as one row
    Alias("transformer.decoder.bbox_embed.{*}", of="bbox_embed.{*}")       # the same tensor stored twice
    Constant("text_encoder.embeddings.position_ids", "text_encoder.roberta.embeddings.position_ids")
    Drop("extra.{*}", reason="why our model has no use for it")

The first rule that matches a published name decides. Every published name needs a rule, every entry of ours is filled
once.
"""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from program_kit.errors import CheckpointError

StateDict: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Rename:
    """Published entry `published` becomes our entry `ours`.

    `reshape` allows another shape for the same numbers in the same order.
    """

    published: str
    ours: str
    reshape: bool = False


@dataclass(frozen=True, slots=True)
class Alias:
    """Published entry `published` repeats published entry `of`. One of the two is enough; two must be equal."""

    published: str
    of: str


@dataclass(frozen=True, slots=True)
class Constant:
    """Published numbers that the configuration implies. They must equal our buffer `ours`, in whatever shape."""

    published: str
    ours: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Published entry that our model has no use for."""

    published: str
    reason: str


Rule: TypeAlias = Rename | Alias | Constant | Drop
Table: TypeAlias = Sequence[Rule]

OUR_NAMES: Table = [Rename("{*}", "{*}")]  # of files that this project wrote
WILDCARD = re.compile(r"\{(\*|\w+)\}")


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern of the table language fits a name."""
    return _compiled(pattern).fullmatch(name) is not None


def our_name(published: str, table: Table) -> str | None:
    """What a published entry, or the one that it repeats, is called here; None when it is no entry of ours."""
    rule, found = _claim(published, table)
    return _fill_in(rule.ours, found) if isinstance(rule, Rename) else None


def convert(published: Mapping[str, Tensor], table: Table, network: nn.Module, source: str) -> StateDict:
    """Turn a published state dict into one that `network.load_state_dict(..., strict=True)` accepts.

    Args:
        published: published names to tensors; not changed.
        table: the rules of the model.
        network: says which entries must be filled and with which shapes, and holds the constants. Its parameters may
            be on the meta device.
        source: what the state dict is, for the message.

    Returns:
        Our names to float32 tensors. Tensors that are float32 already are not copied.

    Raises:
        CheckpointError: lists every unknown, missing, misshapen, contradicting or non-finite entry.
    """
    expected, buffers = network.state_dict(), dict(network.named_buffers())
    filled: dict[str, str] = {}  # our name -> published name
    unknown, wrong = [], []
    for name, tensor in published.items():
        rule, found = _claim(name, table, published)
        fault = None
        match rule:
            case Rename() if (ours := _fill_in(rule.ours, found)) in expected:
                fault = _misfit(tensor, expected[ours], rule)
                if ours in filled:
                    fault = f"stands for the same entry as {filled[ours]}"
                filled[ours] = name
            case Alias():
                repeated = _fill_in(rule.of, found)
                if our_name(repeated, table):  # else it repeats what is dropped
                    fault = _difference(tensor, published[repeated], repeated)
            case Constant() if (ours := _fill_in(rule.ours, found)) in buffers:
                implied = buffers[ours].reshape(tensor.shape) if tensor.numel() == buffers[ours].numel() else None
                fault = _difference(tensor, implied, "what the configuration implies")
            case Drop():
                pass
            case _:
                unknown.append(f"{name} {_shape(tensor)}")
        if fault:
            wrong.append(f"{name}: {fault}")
    missing = [f"{name} {_shape(tensor)} (our name)" for name, tensor in expected.items() if name not in filled]
    _raise_listed(source, {"unknown": unknown, "missing": missing, "wrong": wrong})
    return {ours: _shaped(published[name], expected[ours].shape).float() for ours, name in filled.items()}


def fits(published: Mapping[str, Tensor], table: Table, network: nn.Module) -> bool:
    """Whether names and sizes are those of a network; numbers are not looked at."""
    sizes = {}
    for name, tensor in published.items():
        rule, found = _claim(name, table, published)
        if rule is None:
            return False
        if isinstance(rule, Rename):
            sizes[_fill_in(rule.ours, found)] = tensor.numel()
    return sizes == {name: tensor.numel() for name, tensor in network.state_dict().items()}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = WILDCARD.split(pattern)
    wild = [f"(?P<{_group(name)}>{'.+' if name == '*' else '[^.]+'})" for name in parts[1::2]]
    literal = [re.escape(part) for part in parts[0::2]]
    return re.compile("".join(a + b for a, b in zip(literal, [*wild, ""], strict=True)))


def _group(name: str) -> str:
    return "rest" if name == "*" else name


def _fill_in(pattern: str, match: re.Match[str]) -> str:
    return WILDCARD.sub(lambda wild: match[_group(wild[1])], pattern)


def _claim(name: str, table: Table, present: Container[str] = ()) -> tuple[Rule | None, Any]:
    """The rule of a name and its match. An alias counts only beside what it repeats; alone it takes its place."""
    for rule in table:
        if match := _compiled(rule.published).fullmatch(name):
            if isinstance(rule, Alias) and (repeated := _fill_in(rule.of, match)) not in present:
                return _claim(repeated, table)
            return rule, match
    return None, None


def _shaped(tensor: Tensor, shape: torch.Size) -> Tensor:
    return tensor if tensor.shape == shape else tensor.reshape(shape)


def _misfit(tensor: Tensor, expected: Tensor, rule: Rename) -> str | None:
    if tensor.shape != expected.shape and not (rule.reshape and tensor.numel() == expected.numel()):
        return f"expected shape {_shape(expected)}, found {_shape(tensor)}"
    if not tensor.is_floating_point():
        return f"expected floating point numbers, found {tensor.dtype}"
    if not tensor.isfinite().all():
        return "has values that are not finite"
    return None


def _difference(tensor: Tensor, twin: Tensor | None, name: str) -> str | None:
    if twin is not None and tensor.shape == twin.shape and torch.equal(tensor, twin.to(tensor)):
        return None
    return f"must equal {name}, but does not"


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join(map(str, tensor.shape)) + "]"


def _raise_listed(source: str, faults: Mapping[str, Sequence[str]]) -> None:
    groups = [f"{kind} ({len(found)}):\n    " + "\n    ".join(found) for kind, found in faults.items() if found]
    if groups:
        raise CheckpointError(
            f"{source}: does not fit the model; check that the file belongs to this model and configuration\n  "
            + "\n  ".join(groups)
        )
