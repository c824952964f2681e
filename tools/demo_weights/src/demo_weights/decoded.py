"""Drawn videos in memory: a clip is cut from them many times, and reading files would take as long as a small step."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rvos_training.data_parts import AnnotatedVideos
from rvos_training.object_presence import read_labels


@dataclass(frozen=True, slots=True, eq=False)
class DecodedVideo:
    """All of a video.

    Attributes:
        frames: uint8[T, H, W, 3] RGB.
        labels: uint8[T, H, W], 0 is background.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class DecodedVideos:
    """Reads each video when it is first asked for, and keeps it (0.7 MB at 96x160 and 12 frames)."""

    def __init__(self, videos: AnnotatedVideos) -> None:
        self.videos = videos
        self._read: dict[str, DecodedVideo] = {}

    def __getitem__(self, name: str) -> DecodedVideo:
        if name not in self._read:
            video = self.videos.dataset.videos[name]
            labels = [read_labels(self.videos.annotations, video, frame) for frame in range(len(video))]
            self._read[name] = DecodedVideo(np.stack(list(video.frames())), np.stack(labels))
        return self._read[name]
