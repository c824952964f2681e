"""Clips: what a training sample is made of, where clips come from, and which frames they take."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """T frames, an expression, and the object that it refers to.

    Attributes:
        name: for messages.
        text: the expression.
        frames: uint8[T, H, W, 3] RGB.
        masks: bool[T, H, W].
        boxes: float32[T, 4] as (left, top, right, bottom), indices of the outermost pixels; zeros where not visible.
        visible: bool[T].
        labels: uint8[T, H, W], all objects of the frames, each with a number of its own, 0 where there is none; None
            unless the losses compare the object with the others.
    """

    name: str
    text: str
    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    visible: NDArray[np.bool_]
    labels: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        length, height, width = self.masks.shape
        if self.labels is not None and self.labels.shape != self.masks.shape:
            raise ValueError(
                f"{self.name}: masks {self.masks.shape} and labels {self.labels.shape} must be equally large"
            )
        if self.frames.shape != (length, height, width, 3) or self.boxes.shape != (length, 4):
            raise ValueError(
                f"{self.name}: frames {self.frames.shape}, masks {self.masks.shape} and boxes {self.boxes.shape} "
                "must be [T, H, W, 3], [T, H, W] and [T, 4] of one clip"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return self.masks.shape[1], self.masks.shape[2]

    @classmethod
    def of(
        cls,
        name: str,
        text: str,
        frames: NDArray[np.uint8],
        masks: NDArray[np.bool_],
        labels: NDArray[np.uint8] | None = None,
    ) -> Self:
        """A clip whose boxes and visibility follow from its masks."""
        boxes = np.stack([box_of(mask) for mask in masks])
        return cls(
            name=name,
            text=text,
            frames=frames,
            masks=masks,
            boxes=boxes,
            visible=np.array([mask.any() for mask in masks]),
            labels=labels,
        )


class ClipSource(Protocol):
    """A collection of clips."""

    def __len__(self) -> int:
        """Number of samples of an epoch."""
        ...

    def clip(self, index: int, random: np.random.Generator) -> Clip:
        """A clip; `random` alone decides what is random about it."""
        ...


def box_of(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(left, top, right, bottom) of the outermost pixels of a mask [H, W]; zeros for an empty one."""
    columns, rows = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
    if not len(columns):
        return np.zeros(4, np.float32)
    return np.array((columns[0], rows[0], columns[-1], rows[-1]), np.float32)


def clip_windows(frames: int, length: int) -> list[tuple[int, ...]]:
    """Cut a video into consecutive clips, as `datasets/refer_youtube_vos/refer_youtube_vos_dataset.py` of SOC.

    Args:
        frames: number of frames of the video, at least 1.
        length: number of frames of a clip.

    Returns:
        Frame indices of each clip. A last clip that would be too short takes the last `length` frames of the video, so
        it overlaps the one before. A video shorter than a clip repeats its last frame.
    """
    if frames < length:
        return [(*range(frames), *[frames - 1] * (length - frames))]
    starts = [*range(0, frames - length + 1, length)]
    if frames % length:
        starts.append(frames - length)
    return [tuple(range(start, start + length)) for start in starts]


def sample_window(frames: int, length: int, max_step: int, random: np.random.Generator) -> list[int]:
    """Sample `length` frames in order, equally far apart.

    Args:
        frames: number of frames of the video, at least 1.
        length: number of frames of the clip.
        max_step: largest distance from one frame to the next.
        random: decides on distance and first frame.

    Returns:
        Frame indices. A video shorter than a clip repeats its last frame.
    """
    most = min(max_step, (frames - 1) // (length - 1)) if length > 1 else 1
    step = int(random.integers(1, max(most, 1) + 1))
    first = int(random.integers(max(frames - step * (length - 1), 1)))
    return [min(first + step * i, frames - 1) for i in range(length)]
