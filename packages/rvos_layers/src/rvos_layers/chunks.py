"""Work on a few frames at a time, where frames do not depend on each other."""

from collections.abc import Callable, Iterator
from itertools import chain

import torch
from torch import Tensor


def chunk_slices(count: int, size: int) -> Iterator[slice]:
    """Cut `range(count)` into consecutive slices of at most `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def map_chunks(function: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    """Apply `function` to slices of at most `size` rows of `x` and concatenate the results.

    This bounds the memory that `function` needs. It equals `function(x)` if rows are independent.
    """
    if len(x) <= size:
        return function(x)
    parts = (function(x[chunk]) for chunk in chunk_slices(len(x), size))
    return cat_chunks(parts, len(x))


def cat_chunks(parts: Iterator[Tensor], count: int) -> Tensor:
    """Concatenate parts along axis 0, `count` rows in all. Without gradients only one part exists beside the result."""
    if torch.is_grad_enabled():
        return torch.cat(list(parts))
    first = next(parts)
    channels_last = first.ndim == 4 and first.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    result = torch.empty(count, *first.shape[1:], dtype=first.dtype, device=first.device, memory_format=layout)
    start = 0
    for part in chain((first,), parts):
        result[start : start + len(part)] = part
        start += len(part)
    return result
