"""Random clips of synthetic videos: any expression, any frames."""

import re

import numpy as np
from mask_interchange import Expression, Video
from rvos_training.data.clips import Clip, sample_window
from rvos_training.data.data_parts import AnnotatedVideos
from rvos_training.data.frame_store import FrameStore
from rvos_training.data.object_presence import Presence, labels_of
from rvos_training.errors import TrainingError

from demo_weights.scene_facts import is_false, plan_of

MAX_STEP = 3  # largest distance from one frame of a clip to the next


class RandomClips:
    """Clips that show the object at least once; all expressions that match are equally likely.

    Args:
        videos: to sample clips from.
        presence: from `data_check`.
        length: frames of a clip.
        samples: clips of an epoch.
        pattern: regular expression that an expression must match.
        absent: fraction of clips that are of another video, where the expression is false of every object.
    """

    def __init__(
        self,
        videos: AnnotatedVideos,
        presence: Presence,
        length: int,
        samples: int,
        pattern: str = "",
        absent: float = 0.0,
    ) -> None:
        self.store = FrameStore(videos)
        self.presence = presence
        self.length = length
        self.samples = samples
        self.absent = absent
        self.videos = list(videos.dataset.videos.values())
        self.expressions = [
            (video, expression)
            for video in self.videos
            for expression in video.expressions
            if re.search(pattern, expression.text or "")
        ]

    def __len__(self) -> int:
        return self.samples

    def clip(self, index: int, random: np.random.Generator) -> Clip:
        """A clip; `random` alone decides which."""
        video, expression = self.expressions[random.integers(len(self.expressions))]
        if random.random() < self.absent:
            return self._clip(self._other(video, expression, random), expression, (), self._window(video, random))
        labels = labels_of(expression, video.id)
        seen = frozenset[int]().union(*(self.presence[video.id][label] for label in labels))
        frames: list[int] = []
        while seen.isdisjoint(frames):
            frames = self._window(video, random)
        return self._clip(video, expression, labels, frames)

    def _window(self, video: Video, random: np.random.Generator) -> list[int]:
        return sample_window(len(video), self.length, MAX_STEP, random)

    def _other(self, video: Video, expression: Expression, random: np.random.Generator) -> Video:
        """A video that an expression of `video` is false of.

        Raises:
            TrainingError: there is none; more videos are needed.
        """
        claims = plan_of(video.id)[1][int(expression.id)].claims
        for index in random.permutation(len(self.videos)):
            if is_false(claims, self.videos[index].id):
                return self.videos[index]
        raise TrainingError(
            f"video {video.id}, expression {expression.id}: not false of any of {len(self.videos)} videos; write more"
        )

    def _clip(self, video: Video, expression: Expression, labels: tuple[str, ...], frames: list[int]) -> Clip:
        """Frames of a video with the masks of these labels, of none for an expression about another video."""
        images, found = zip(*(self.store.read(video, frame) for frame in frames), strict=True)
        objects = np.stack(found)
        name = f"video {video.id}, expression {expression.id}, frames {frames[0]} to {frames[-1]}"
        masks = np.isin(objects, [int(label) for label in labels])
        return Clip.of(name, expression.text or "", np.stack(images), masks, objects)
