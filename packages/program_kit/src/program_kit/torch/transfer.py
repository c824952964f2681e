"""Numbers between processor and GPU while both work. On the processor alone nothing is copied and nothing waits."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

T = TypeVar("T")
GATHER = 0x0102040810204080  # times eight bytes of 0 and 1: the highest byte has their bits, that of the first lowest


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the processor on a device; what is called next does not wait until it is there."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@lru_cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Float32 [n]; kept, because a GPU waits for numbers that it is sent."""
    with torch.inference_mode(False):  # training may use them later
        return torch.tensor(values, device=device)


def packed_bits(masks: Tensor) -> Tensor:
    """Bool of any shape as bits uint8 [n], eight to a byte; zeros fill up the last one. `unpacked` undoes it."""
    count = masks.numel()
    filled = functional.pad(masks.flatten().view(torch.uint8), (0, -count % 8)).view(torch.int64)
    return (filled * GATHER >> 56 & 255).to(torch.uint8)


def unpacked(bits: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Bool of a shape from what `packed_bits` gave."""
    return np.unpackbits(bits, count=math.prod(shape), bitorder="little").view(np.bool_).reshape(shape)


def _goes_as_bits(result: Tensor) -> bool:
    return result.is_cuda and result.dtype == torch.bool


class Download:
    """Results on their way to the processor; masks leave a GPU as bits.

    Args:
        results: tensors on one device.
    """

    def __init__(self, results: Sequence[Tensor]) -> None:
        self._shapes = [result.shape if _goes_as_bits(result) else None for result in results]
        sent = (packed_bits(result) if _goes_as_bits(result) else result for result in results)
        self._results = [result.to("cpu", non_blocking=True) for result in sent]  # pinned where they come from a GPU
        self._arrival = None
        if gpu := next((result.device for result in results if result.is_cuda), None):
            self._arrival = torch.cuda.current_stream(gpu).record_event()

    @property
    def has_arrived(self) -> bool:
        """Whether `arrays` would not wait."""
        return self._arrival is None or self._arrival.query()

    def arrays(self) -> list[np.ndarray]:
        """The results, once they are there."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return [
            result.numpy() if shape is None else unpacked(result.numpy(), shape)
            for result, shape in zip(self._results, self._shapes, strict=True)
        ]


def arrived(downloads: Iterable[tuple[T, Download]]) -> Iterator[tuple[T, list[np.ndarray]]]:
    """The arrays of all downloads, in order. A GPU has its next work before a caller gets what it is done with.

    Args:
        downloads: with what they are of. The next one is asked for before the last one is waited for; two exist.
    """
    last = None
    for of, download in downloads:
        if last is not None:
            yield last[0], last[1].arrays()
        last = of, download
        if download.has_arrived:
            yield of, download.arrays()
            last = None
    if last is not None:
        yield last[0], last[1].arrays()
