"""One training sample before it is made ready for a network, and where samples come from."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """T frames, a sentence, and the object that it means.

    Attributes:
        name: for messages.
        text: the sentence.
        frames: uint8[T, H, W, 3] RGB.
        masks: bool[T, H, W].
        boxes: float32[T, 4] as (left, top, right, bottom), indices of the outermost pixels; zeros where not visible.
        visible: bool[T].
    """

    name: str
    text: str
    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    visible: NDArray[np.bool_]

    def __post_init__(self) -> None:
        length, height, width = self.masks.shape
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
    def of(cls, name: str, text: str, frames: NDArray[np.uint8], masks: NDArray[np.bool_]) -> Self:
        """A clip whose boxes and visibility follow from its masks."""
        boxes = np.stack([box_of(mask) for mask in masks])
        return cls(
            name=name,
            text=text,
            frames=frames,
            masks=masks,
            boxes=boxes,
            visible=np.array([mask.any() for mask in masks]),
        )


class ClipSource(Protocol):
    """A collection of clips."""

    def __len__(self) -> int:
        """How many samples an epoch takes from it."""
        ...

    def clip(self, index: int, random: np.random.Generator) -> Clip:
        """One of them; what is left to chance is drawn from `random` alone."""
        ...


def box_of(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(left, top, right, bottom) of the outermost pixels of a mask [H, W]; zeros for an empty one."""
    columns, rows = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
    if not len(columns):
        return np.zeros(4, np.float32)
    return np.array((columns[0], rows[0], columns[-1], rows[-1]), np.float32)
