"""Counter weights: every tensor of a golden case is drawn from its own name.

`seed = first 8 bytes of sha256(name)`, little endian; `z = PCG64(seed).standard_normal(shape, float32)`.
`running_var` is `1 + 0.1|z|`, `running_mean` is `0.1 z`, rank >= 2 is `z / sqrt(prod(shape[1:]))`, rank <= 1 is
`1 + 0.1 z` for names ending in `weight` and `0.05 z` otherwise. A manifest's `overrides` change the draws of the
names they match.
"""

import ast
import hashlib
import math
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Entry = Sequence[Any]  # [name, shape, dtype, alias_of or None]


def draw(name: str, shape: Sequence[int]) -> np.ndarray:
    """Standard normal values that belong to `name`, float32 of `shape`."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(tuple(shape), dtype=np.float32)


def _by_rule(name: str, z: np.ndarray) -> np.ndarray:
    if name.endswith("running_var"):
        return np.float32(1) + np.float32(0.1) * np.abs(z)
    if name.endswith("running_mean"):
        return np.float32(0.1) * z
    if z.ndim >= 2:
        return (z.astype(np.float64) / math.sqrt(math.prod(z.shape[1:]))).astype(np.float32)
    if name.endswith("weight"):
        return np.float32(1) + np.float32(0.1) * z
    return np.float32(0.05) * z


def published_weights(
    entries: Sequence[Entry], overrides: Mapping[str, Any], explicit: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Draw a published state dict.

    Args:
        entries: `[name, shape, dtype, alias_of]` rows of a manifest; integer entries (index buffers) are left out.
        overrides: pattern (`re.search`) -> rule: `scale:s`, `{"mul": s}`, `{"set": [...]}`, `explicit...` or a
            formula over `z` and `shape`.
        explicit: arrays for the `explicit` rule, by tensor name.

    Returns:
        name -> float array; an alias holds the very array of its target.
    """
    weights: dict[str, np.ndarray] = {}
    for name, shape, dtype, alias in entries:
        if not dtype.startswith("float"):
            continue
        source = alias or name
        if alias and alias in weights:
            weights[name] = weights[alias]
            continue
        value = _by_rule(source, draw(source, shape))
        for pattern, rule in overrides.items():
            if re.search(pattern, source):
                value = _override(rule, source, value, explicit)
        weights[name] = value.astype(dtype)
    return weights


def _override(rule: Any, name: str, value: np.ndarray, explicit: Mapping[str, np.ndarray]) -> np.ndarray:
    if isinstance(rule, Mapping):
        if "mul" in rule:
            return value * np.float32(rule["mul"])
        return np.asarray(rule["set"], dtype=np.float32).reshape(value.shape)
    if rule.startswith("scale:"):
        return value * np.float32(rule.removeprefix("scale:"))
    if rule.startswith("explicit"):
        return explicit[name]
    names = {"z": draw(name, value.shape), "shape": value.shape}  # formulas are float32 arithmetic, as z is
    return _evaluate(ast.parse(rule, mode="eval").body, names)


_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_FUNCTIONS = {"sqrt": math.sqrt, "prod": math.prod}


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Value of a formula such as `0.2 * z / sqrt(prod(shape[1:]))`; nothing but arithmetic is understood."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_evaluate(left, names), _evaluate(right, names))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](_evaluate(argument, names))
        case ast.Subscript(
            value=value, slice=ast.Slice(lower=ast.Constant(value=int() as start), upper=None, step=None)
        ):
            return _evaluate(value, names)[start:]
    raise ValueError(f"weight formula: cannot evaluate {ast.unparse(node)!r}")
