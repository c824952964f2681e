"""Numbers between processor and GPU while both work. On the processor alone nothing is copied and nothing waits."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the processor on a device; what is called next does not wait until it is there."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Download:
    """Results on their way to the processor.

    Args:
        results: tensors on one device.
    """

    def __init__(self, results: Sequence[Tensor]) -> None:
        self._results = [result.to("cpu", non_blocking=True) for result in results]  # pinned where they come from a GPU
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
        return [result.numpy() for result in self._results]


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
