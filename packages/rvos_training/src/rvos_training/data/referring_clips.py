"""Clips of Ref-YouTube-VOS, or of any data set in its layout with annotations.

Source: `datasets/refer_youtube_vos/refer_youtube_vos_dataset.py` of SOC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mask_interchange import Dataset, Expression, Video

from rvos_training.data.clips import Clip, clip_windows
from rvos_training.data.object_presence import Presence, labels_of, read_labels


@dataclass(frozen=True, slots=True)
class _ClipFrames:
    video: str
    expression: Expression
    frames: tuple[int, ...]


class ReferringClips:
    """One clip for each expression and each window of its video that shows the object at least once.

    Args:
        dataset: videos; the `group` of an expression is its object's label.
        annotations: folder of `<video>/<frame>.png`.
        presence: from `data_check`.
        length: frames of a clip.
    """

    def __init__(self, dataset: Dataset, annotations: Path, presence: Presence, length: int) -> None:
        self.dataset = dataset
        self.annotations = annotations
        self.clips = [
            clip for video in dataset.videos for clip in _clips_of(dataset.videos[video], presence[video], length)
        ]

    def __len__(self) -> int:
        return len(self.clips)

    def clip(self, index: int, random: np.random.Generator) -> Clip:
        """A clip; nothing about it is random."""
        clip = self.clips[index]
        video = self.dataset.videos[clip.video]
        return read_clip(self.annotations, video, clip.expression, clip.frames)


def read_clip(annotations: Path, video: Video, expression: Expression, frames: tuple[int, ...]) -> Clip:
    """Some frames of a video, and the masks of what an expression refers to.

    Raises:
        DatasetError: a frame or an annotation is missing or unreadable; says which.
    """
    labels = [int(label) for label in labels_of(expression, video.id)]
    images = {frame: video.read_frame(frame) for frame in set(frames)}
    masks = {frame: np.isin(read_labels(annotations, video, frame), labels) for frame in images}
    return Clip.of(
        f"video {video.id}, expression {expression.id}, frames {video.frame_names[frames[0]]} to "
        f"{video.frame_names[frames[-1]]}",
        clean_text(expression),
        np.stack([images[frame] for frame in frames]),
        np.stack([masks[frame] for frame in frames]),
    )


def clean_text(expression: Expression) -> str:
    """An expression in lower case with single spaces, as published."""
    return " ".join((expression.text or "").lower().split())


def _clips_of(video: Video, presence: Mapping[str, frozenset[int]], length: int) -> list[_ClipFrames]:
    in_order = sorted(range(len(video)), key=lambda frame: video.frame_names[frame])
    windows = [tuple(in_order[i] for i in window) for window in clip_windows(len(video), length)]
    return [
        _ClipFrames(video.id, expression, window)
        for expression in video.expressions
        for window in windows
        if any(not presence.get(label, frozenset()).isdisjoint(window) for label in labels_of(expression, video.id))
    ]
