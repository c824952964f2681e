"""What the benchmarks of memory have in common: a video of any length, and the peak memory of propagating one mask."""

import resource

import numpy as np
from mask_interchange import encode_mask
from program_kit.propagator import Job, Propagator


class DrawnVideo:
    """A square that goes round; frames are drawn when asked for."""

    def __init__(self, frames: int, size: tuple[int, int]):
        self.size = size
        self._frames = frames
        self._side = size[0] // 3

    def __len__(self):
        return self._frames

    def read_frame(self, i):
        frame = np.full((*self.size, 3), 60, np.uint8)
        x = 7 * i % (self.size[1] - self._side)
        frame[self._side : 2 * self._side, x : x + self._side] = (220, 80, 40)
        return frame

    def frames(self, start=0):
        return (self.read_frame(i) for i in range(start, self._frames))

    def labels(self):
        """A mask that covers the square about half."""
        labels = np.zeros(self.size, np.uint8)
        labels[self._side : 2 * self._side, self._side : 2 * self._side] = 1
        return labels


def print_peak(propagator: Propagator, video: DrawnVideo, key_frame: int) -> None:
    """Propagate one mask; prints the peak memory of this process, and its peak before the first frame, in MiB."""
    before = _peak()
    found = propagator.propagate(video, [Job(key_frame, video.labels())])
    masks = {result.frame: encode_mask(result.mask()) for result in found}
    assert len(masks) == len(video) - 1
    print(_peak(), before)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10
