"""Decoded frames and labels in memory, for small videos that are read many times."""

import numpy as np
from mask_interchange import Video
from numpy.typing import NDArray

from rvos_training.data.data_parts import AnnotatedVideos
from rvos_training.data.object_presence import read_labels

BUDGET = 2 * 2**30  # bytes


class FrameStore:
    """Frames and labels of annotated videos, each decoded once as long as memory allows.

    Args:
        videos: to read from.
        budget: bytes to keep; what comes later is decoded every time.
    """

    def __init__(self, videos: AnnotatedVideos, budget: int = BUDGET) -> None:
        self.videos = videos
        self.budget = budget
        self._kept: dict[tuple[str, int], tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}

    def read(self, video: Video, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """RGB [H, W, 3] and object ids [H, W] of a frame.

        Raises:
            DatasetError: a file is missing or unreadable; says which.
        """
        key = (video.id, frame)
        if key in self._kept:
            return self._kept[key]
        found = video.read_frame(frame), read_labels(self.videos.annotations, video, frame)
        size = sum(part.nbytes for part in found)
        if size <= self.budget:
            self.budget -= size
            self._kept[key] = found
        return found
