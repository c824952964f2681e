"""Work on a few frames at a time, where frames do not depend on each other."""

from collections.abc import Callable, Iterator

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
    return torch.cat([function(frames[some]) for some in groups(len(frames), size)])
