"""Long videos in windows: each is a clip of its own, and neighbours are joined where they overlap.

The published programs take a whole video as one clip. Windows are an addition: within a window everything is as
published, but a window may take another query, and so another object, for the one that is meant. Of the queries with
the best scores, every window but the first takes the one whose score and agreement with the window before add up to
most. Agreement is the mean IoU over the frames that both have. Each of these frames keeps the masks of the window whose
middle is nearer.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from mask_interchange import Expression, MaskTrack, Size
from program_kit.progress import ProgressCallback
from torch import Tensor

from rvos_layers.inference.config import Windows

CANDIDATES = 5  # queries of an expression that are compared


def cut(frames: Iterable[np.ndarray], windows: Windows | None) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The first frame and all frames of each window; those of one window are held at a time."""
    if windows is None:
        yield 0, list(frames)
        return
    held: deque[np.ndarray] = deque(maxlen=windows.frames)
    seen = covered = 0
    for frame in frames:
        held.append(frame)
        seen += 1
        if seen - covered == (windows.frames - windows.overlap if covered else windows.frames):
            yield seen - len(held), list(held)
            covered = seen
    if seen > covered:
        yield seen - len(held), list(held)


def progress_of_window(number: int, windows: int | None, progress: ProgressCallback) -> ProgressCallback:
    """A callback for one window that reports the progress of all; `windows` is their number, None if not known."""
    of_all = max(number + 1, windows or 0)
    return lambda done, total: progress(number * total + done, of_all * total)


@dataclass(slots=True)
class WindowMasks:
    """What a window finds for one expression.

    Attributes:
        masks: compressed counts of its frames, T of them.
        scores: float32 [T].
        soft: uint8 [T, h, w] soft masks, or None.
        outline: bool [T, h', w'], the masks in the size that the network makes, for agreement with the next window;
            None where there is none.
    """

    masks: list[bytes]
    scores: np.ndarray
    soft: np.ndarray | None
    outline: Tensor | None


@dataclass(slots=True)
class GrowingTrack:
    """The masks of an expression in all windows so far."""

    expression: Expression
    size: Size
    _masks: list[bytes] = field(default_factory=list)
    _scores: list[float] = field(default_factory=list)
    _soft: list[np.ndarray] = field(default_factory=list)
    _last: Tensor | None = None

    def overlap(self, start: int) -> Tensor | None:
        """The last window's masks bool [n, h', w'] of the frames from `start` on; None before the first window."""
        return None if self._last is None else self._last[len(self._last) - len(self._masks) + start :]

    def add(self, start: int, found: WindowMasks) -> None:
        """Join the masks of a window whose first frame is `start`."""
        middle = start + (len(self._masks) - start + 1) // 2
        new = slice(middle - start, None)
        for kept, more in ((self._masks, found.masks), (self._scores, found.scores.tolist())):
            del kept[middle:]
            kept += more[new]
        if found.soft is not None:
            del self._soft[middle:]
            self._soft += list(found.soft[new])
        self._last = found.outline

    def whole(self) -> MaskTrack:
        """The whole track; its key frame is the first one with the best score."""
        return MaskTrack(
            expression=self.expression,
            size=self.size,
            masks=tuple(self._masks),
            scores=np.array(self._scores, np.float32),
            key_frame=int(np.argmax(self._scores)),
            soft=np.stack(self._soft) if self._soft else None,
        )


def best_continuation(scores: Tensor, masks: Tensor, before: Tensor) -> int:
    """Which of n queries goes on with the object of the window before: its mean score and agreement are highest.

    Args:
        scores: float[n, T] of each query.
        masks: bool[T, n, h, w] of each query.
        before: bool[S, h, w], masks of the window before in the first S <= T frames.
    """
    return int((scores.mean(-1) + agreement(masks[: len(before)], before)).argmax())


def agreement(masks: Tensor, before: Tensor) -> Tensor:
    """Mean IoU over S frames of bool masks [S, n, h, w] with bool masks [S, h, w].

    Returns:
        float[n]; two empty masks agree.
    """
    common = (masks & before[:, None]).sum((-2, -1))
    either = (masks | before[:, None]).sum((-2, -1))
    return torch.where(either > 0, common / either.clamp(min=1), 1.0).mean(0)
