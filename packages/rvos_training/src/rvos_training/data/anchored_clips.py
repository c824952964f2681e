"""Clips of Ref-YouTube-VOS as ReferFormer and MUTR see them: a frame, its neighbours, and others from anywhere.

Source: `datasets/ytvos.py` of ReferFormer.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mask_interchange import Dataset, Expression, Video

from rvos_training.data.clips import Clip
from rvos_training.data.object_presence import Presence, labels_of
from rvos_training.data.referring_clips import read_clip

NEAR = 3  # frames that a neighbour is away from the anchor at most


@dataclass(frozen=True, slots=True)
class _Place:
    video: str
    expression: Expression
    anchor: int
    order: tuple[int, ...]  # frame indices in the order of their names; an anchor is a place in it
    showing: frozenset[int]  # places in it that show the object


class AnchoredClips:
    """One clip for each expression and every `length`-th frame of its video; which other frames, is left to chance.

    A clip that happens to show the object in no frame is drawn anew around one that shows it (the published data set
    takes any other clip in its place). Expressions whose object is never seen are left out.

    Args:
        dataset: videos with expressions whose `group` is the object's label.
        annotations: folder of `<video>/<frame>.png`.
        presence: from `object_presence`.
        length: frames of a clip.
    """

    def __init__(self, dataset: Dataset, annotations: Path, presence: Presence, length: int) -> None:
        self.dataset = dataset
        self.annotations = annotations
        self.length = length
        self.places = [
            _Place(video, expression, anchor, order, showing)
            for video in dataset.videos
            for order in [_in_order(dataset.videos[video])]
            for expression in dataset.videos[video].expressions
            if (showing := _showing(video, expression, order, presence))
            for anchor in range(0, len(order), length)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def clip(self, index: int, random: np.random.Generator) -> Clip:
        """A clip around anchor `index`."""
        place = self.places[index]
        count = len(place.order)
        drawn = frames_around(place.anchor, count, self.length, random)
        if place.showing.isdisjoint(drawn):
            drawn = frames_around(int(random.choice(sorted(place.showing))), count, self.length, random)
        frames = tuple(place.order[frame] for frame in drawn)
        return read_clip(self.annotations, self.dataset.videos[place.video], place.expression, frames)


def frames_around(anchor: int, count: int, length: int, random: np.random.Generator) -> tuple[int, ...]:
    """Frames of a clip, in order.

    Args:
        anchor: a frame that the clip holds.
        count: frames of the video.
        length: of the clip. From the second on its frames are: one up to three frames before the anchor, one up to
            three behind it (the first and the last frame at the ends of the video), and others from outside of these,
            each once, as long as there are enough; otherwise any, and some twice.
        random: what is drawn from.
    """
    before, behind = random.integers(1, NEAR, 2, endpoint=True)
    near = [anchor, max(0, anchor - int(before)), min(count - 1, anchor + int(behind))][:length]
    outside = [*range(min(near)), *range(max(near) + 1, count)]
    missing = length - len(near)
    others = outside if len(outside) >= missing else range(count)
    drawn = random.choice(others, missing, replace=len(others) < missing) if missing else []
    return tuple(sorted([*near, *map(int, drawn)]))


def _in_order(video: Video) -> tuple[int, ...]:
    return tuple(sorted(range(len(video)), key=lambda frame: video.frame_names[frame]))


def _showing(video: str, expression: Expression, order: tuple[int, ...], presence: Presence) -> frozenset[int]:
    seen = frozenset[int]().union(*(presence[video].get(label, ()) for label in labels_of(expression, video)))
    return frozenset(place for place, frame in enumerate(order) if frame in seen)
