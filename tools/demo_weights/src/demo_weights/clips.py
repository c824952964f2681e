"""Random clips of synthetic videos: any expression, any frames."""

import re

import numpy as np
from rvos_training.data.clips import Clip, sample_window
from rvos_training.data.data_parts import AnnotatedVideos
from rvos_training.data.frame_store import FrameStore
from rvos_training.data.object_presence import Presence, labels_of

MAX_STEP = 3  # largest distance from one frame of a clip to the next


class RandomClips:
    """Clips that show the object at least once; all expressions that match are equally likely.

    Args:
        videos: to sample clips from.
        presence: from `data_check`.
        length: frames of a clip.
        samples: clips of an epoch.
        pattern: regular expression that an expression must match.
    """

    def __init__(
        self, videos: AnnotatedVideos, presence: Presence, length: int, samples: int, pattern: str = ""
    ) -> None:
        self.store = FrameStore(videos)
        self.presence = presence
        self.length = length
        self.samples = samples
        self.expressions = [
            (video, expression)
            for video in videos.dataset.videos.values()
            for expression in video.expressions
            if re.search(pattern, expression.text or "")
        ]

    def __len__(self) -> int:
        return self.samples

    def clip(self, index: int, random: np.random.Generator) -> Clip:
        """A clip; `random` alone decides which."""
        video, expression = self.expressions[random.integers(len(self.expressions))]
        labels = labels_of(expression, video.id)
        seen = frozenset[int]().union(*(self.presence[video.id][label] for label in labels))
        frames: list[int] = []
        while seen.isdisjoint(frames):
            frames = sample_window(len(video), self.length, MAX_STEP, random)
        images, found = zip(*(self.store.read(video, frame) for frame in frames), strict=True)
        name = f"video {video.id}, expression {expression.id}, frames {frames[0]} to {frames[-1]}"
        masks = np.isin(np.stack(found), [int(label) for label in labels])
        return Clip.of(name, expression.text or "", np.stack(images), masks)
