"""Work on a few frames at a time, where frames do not depend on each other."""

from collections.abc import Callable, Iterator
from itertools import chain

import torch
from torch import Tensor


def groups(count: int, size: int) -> Iterator[slice]:
    """Cut `range(count)` into consecutive slices of at most `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def map_frames(function: Callable[[Tensor], Tensor], frames: Tensor, size: int) -> Tensor:
    """Apply `function` to slices of at most `size` along axis 0 and join the results.

    Bounds what `function` needs in between; equal to `function(frames)` when frames are independent.
    """
    if len(frames) <= size:
        return function(frames)
    parts = (function(frames[some]) for some in groups(len(frames), size))
    return gather(parts, len(frames))


def gather(parts: Iterator[Tensor], count: int) -> Tensor:
    """Join parts along axis 0, `count` rows in all. Without gradients only one of them is held beside the result."""
    if torch.is_grad_enabled():
        return torch.cat(list(parts))
    first = next(parts)
    channels_last = first.ndim == 4 and first.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    joined = torch.empty(count, *first.shape[1:], dtype=first.dtype, device=first.device, memory_format=layout)
    filled = 0
    for part in chain((first,), parts):
        joined[filled : filled + len(part)] = part
        filled += len(part)
    return joined
