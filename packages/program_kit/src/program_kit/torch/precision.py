"""The precision that a network computes in, by name.

- `strict`: float32, and a GPU computes products in it, too. torch's own default lets convolutions round their factors.
- `tf32`: float32, and a GPU may round the factors of all products to 10 bits (TensorFloat-32). Elsewhere as `strict`.
- `bfloat16`, `float16`: the weights are of this type, and with them what layers hand on. What a network needs in more
  detail it computes in float32: parts that it marks with `keep_float32`, positions, scores and masks.
"""

from itertools import chain
from typing import TypeVar, get_args

import torch
from torch import nn

from program_kit.errors import ProgramKitError
from program_kit.options import Precision

HALF: dict[str, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}
M = TypeVar("M", bound=nn.Module)


def keep_float32(module: M) -> M:
    """`module`, whose weights `set_precision` leaves alone. Its caller gives it float32."""
    module.keeps_float32 = True  # pyright: ignore[reportArgumentType] - neither a tensor nor a part
    return module


def set_precision(network: nn.Module, precision: Precision) -> "ProductPrecision":
    """Give a network the weights of a precision, in place, and return what is to be entered around its work.

    A half precision changes all floating weights and buffers but those of parts marked with `keep_float32`.

    Raises:
        ProgramKitError: no such precision.
    """
    if precision not in get_args(Precision):
        raise ProgramKitError(f"precision {precision!r}: expected one of {', '.join(get_args(Precision))}")
    if precision in HALF:
        marked = [module for module in network.modules() if getattr(module, "keeps_float32", False)]
        kept = {id(tensor) for module in marked for tensor in chain(module.parameters(), module.buffers())}
        for tensor in chain(network.parameters(), network.buffers()):
            if tensor.is_floating_point() and id(tensor) not in kept:
                tensor.data = tensor.data.to(HALF[precision])
    return ProductPrecision(tf32=precision == "tf32")


class ProductPrecision:
    """While entered, float32 products on a GPU do or do not use TF32; may be entered again and again.

    Args:
        tf32: whether they may.
    """

    def __init__(self, *, tf32: bool) -> None:
        self._wanted = (tf32, tf32)
        self._before: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        self._before.append((bool(before[0]), bool(before[1])))
        self._set(self._wanted)

    def __exit__(self, *error: object) -> None:
        self._set(self._before.pop())

    @staticmethod
    def _set(allowed: tuple[bool, bool]) -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed
