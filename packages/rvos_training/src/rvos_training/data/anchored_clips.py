"""Clips of Ref-YouTube-VOS as ReferFormer and MUTR take them: an anchor frame, its neighbours, and any others.

Source: `datasets/ytvos.py` of ReferFormer.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mask_interchange import Dataset, Expression, Video

from rvos_training.data.clips import Clip
from rvos_training.data.object_presence import Presence, labels_of
from rvos_training.data.referring_clips import read_clip

NEAR = 3  # largest distance of a neighbour from the anchor, in frames


@dataclass(frozen=True, slots=True)
class _Anchor:
    video: str
    expression: Expression
    position: int  # in `order`
    order: tuple[int, ...]  # frame indices in the order of the frames' names
    showing: frozenset[int]  # positions in `order` that show the object


class AnchoredClips:
    """One clip for each expression and every `length`-th frame of its video; the other frames are random.

    Where no frame of the clip shows the object, the clip is sampled again around a frame that does (the published data
    set takes any other clip instead). Expressions whose object is never visible are left out.

    Args:
        dataset: videos; the `group` of an expression is its object's label.
        annotations: folder of `<video>/<frame>.png`.
        presence: from `data_check`.
        length: frames of a clip.
    """

    def __init__(self, dataset: Dataset, annotations: Path, presence: Presence, length: int) -> None:
        self.dataset = dataset
        self.annotations = annotations
        self.length = length
        self.anchors = [
            _Anchor(video, expression, position, order, showing)
            for video in dataset.videos
            for order in [_in_order(dataset.videos[video])]
            for expression in dataset.videos[video].expressions
            if (showing := _showing(video, expression, order, presence))
            for position in range(0, len(order), length)
        ]

    def __len__(self) -> int:
        return len(self.anchors)

    def clip(self, index: int, random: np.random.Generator) -> Clip:
        """A clip around an anchor frame."""
        anchor = self.anchors[index]
        count = len(anchor.order)
        positions = frames_around(anchor.position, count, self.length, random)
        if anchor.showing.isdisjoint(positions):
            positions = frames_around(int(random.choice(sorted(anchor.showing))), count, self.length, random)
        frames = tuple(anchor.order[position] for position in positions)
        return read_clip(self.annotations, self.dataset.videos[anchor.video], anchor.expression, frames)


def frames_around(anchor: int, count: int, length: int, random: np.random.Generator) -> tuple[int, ...]:
    """Sample the frames of a clip around an anchor.

    Args:
        anchor: a frame of the clip.
        count: number of frames of the video.
        length: number of frames of the clip. After the anchor come: a frame one to three before it, a frame one to
            three after it (at the ends of the video, the first and the last frame), and others from outside of these.
            Each comes once where the video has enough frames, otherwise some come twice.
        random: the source of chance.

    Returns:
        Frames in order.
    """
    before, after = random.integers(1, NEAR, 2, endpoint=True)
    near = [anchor, max(0, anchor - int(before)), min(count - 1, anchor + int(after))][:length]
    outside = [*range(min(near)), *range(max(near) + 1, count)]
    missing = length - len(near)
    others = outside if len(outside) >= missing else range(count)
    sampled = random.choice(others, missing, replace=len(others) < missing) if missing else []
    return tuple(sorted([*near, *map(int, sampled)]))


def _in_order(video: Video) -> tuple[int, ...]:
    return tuple(sorted(range(len(video)), key=lambda frame: video.frame_names[frame]))


def _showing(video: str, expression: Expression, order: tuple[int, ...], presence: Presence) -> frozenset[int]:
    seen = frozenset[int]().union(*(presence[video].get(label, ()) for label in labels_of(expression, video)))
    return frozenset(place for place, frame in enumerate(order) if frame in seen)
