"""Random clips of drawn videos: any sentence, any frames."""

import re

import numpy as np
from rvos_training.clips import Clip
from rvos_training.data_parts import AnnotatedVideos
from rvos_training.object_presence import Presence, labels_of

from demo_weights.decoded import DecodedVideos

LONGEST_STEP = 3  # frames from one frame of a clip to the next


class RandomClips:
    """Clips in which the object is seen at least once; all sentences that match are equally likely.

    Args:
        videos: what to draw from.
        presence: from `object_presence`.
        length: frames of a clip.
        samples: how many an epoch takes.
        pattern: regular expression that must be found in a sentence.
    """

    def __init__(
        self, videos: AnnotatedVideos, presence: Presence, length: int, samples: int, pattern: str = ""
    ) -> None:
        self.decoded = DecodedVideos(videos)
        self.presence = presence
        self.length = length
        self.samples = samples
        self.sentences = [
            (video, expression)
            for video in videos.dataset.videos.values()
            for expression in video.expressions
            if re.search(pattern, expression.text or "")
        ]

    def __len__(self) -> int:
        return self.samples

    def clip(self, index: int, random: np.random.Generator) -> Clip:
        """One of them; which one, `random` alone decides."""
        video, expression = self.sentences[random.integers(len(self.sentences))]
        labels = labels_of(expression, video.id)
        seen = frozenset[int]().union(*(self.presence[video.id][label] for label in labels))
        some: list[int] = []
        while seen.isdisjoint(some):
            some = _some_frames(len(video), self.length, random)
        decoded = self.decoded[video.id]
        name = f"video {video.id}, expression {expression.id}, frames {some[0]} to {some[-1]}"
        masks = np.isin(decoded.labels[some], [int(label) for label in labels])
        return Clip.of(name, expression.text or "", decoded.frames[some], masks)


def _some_frames(count: int, length: int, random: np.random.Generator) -> list[int]:
    """`length` of `count` frames in order, equally far apart; the last one again and again where there are too few."""
    most = min(LONGEST_STEP, (count - 1) // (length - 1)) if length > 1 else 1
    step = int(random.integers(1, max(most, 1) + 1))
    first = int(random.integers(max(count - step * (length - 1), 1)))
    return [min(first + step * i, count - 1) for i in range(length)]
