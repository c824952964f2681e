"""What a propagator is asked, and what it answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from program_kit.errors import InputError
from program_kit.prompts import Prompt

__all__ = [
    "ExpectingPropagator",
    "Frames",
    "Job",
    "LimitedPropagator",
    "PromptedPropagator",
    "PropagatedFrame",
    "Propagator",
]


class Frames(Protocol):
    """The frames of a video, or of a part of one; `mask_interchange.Video` has more."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of every frame."""
        ...

    def __len__(self) -> int: ...

    def read_frame(self, i: int) -> NDArray[np.uint8]:
        """Frame `i` as RGB uint8 [H, W, 3]."""
        ...

    def frames(self, start: int = 0) -> Iterator[NDArray[np.uint8]]:
        """The frames from `start` on, in order."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Masks of one frame or of several, the references, that are to be carried through the video.

    Attributes:
        key_frame: index of a frame.
        labels: integer [H, W], the object id of every pixel of it, 0 is background; at least one object.
        more: labels of further references by their frames. An object that has no pixel in one is not in that frame.
    """

    key_frame: int
    labels: NDArray[np.integer]
    more: Mapping[int, NDArray[np.integer]] = field(default_factory=dict)

    @property
    def references(self) -> dict[int, NDArray[np.integer]]:
        """The labels of all references by their frames, in the order of these."""
        return dict(sorted({self.key_frame: self.labels, **self.more}.items()))

    @property
    def object_ids(self) -> list[int]:
        """Of its objects, in ascending order."""
        return sorted({int(i) for labels in self.references.values() for i in np.unique(labels) if i != 0})

    def check(self, video: Frames) -> None:
        """Check that the job fits the video.

        Raises:
            InputError: a frame is not in the video, a mask has another size than the frames, or it is empty.
        """
        for frame, labels in self.references.items():
            if not 0 <= frame < len(video):
                raise InputError(f"key frame {frame} is not in the video, which has frames 0 to {len(video) - 1}")
            if labels.shape != tuple(video.size):
                raise InputError(
                    f"the mask of key frame {frame} is {_pixels(labels.shape)}, "
                    f"the video's frames are {_pixels(video.size)} (height x width); give a mask of their size"
                )
            if not labels.any():
                raise InputError(f"the mask of key frame {frame} is empty: there is nothing to propagate")


class PropagatedFrame(Protocol):
    """One frame of one job, as a propagator gives it."""

    @property
    def job(self) -> int:
        """Index of the job."""
        ...

    @property
    def frame(self) -> int:
        """Index of the frame; never one of the job's references."""
        ...

    @property
    def reference(self) -> int:
        """The job's reference that the sweep has passed last: the masks were carried from there."""
        ...

    def mask(self, object_id: int | None = None) -> NDArray[np.bool_]:
        """Pixels [H, W] of an object of the job; for None those of any object, all that is not background."""
        ...

    def probability(self, object_id: int | None = None) -> NDArray[np.float32]:
        """Probability [H, W] of each pixel to belong to an object of the job; for None to any object."""
        ...

    def presence(self, object_id: int | None = None) -> float | None:
        """Probability 0..1 that an object of the job, for None any, is in the frame; None if the network tells none."""
        ...


class Propagator(Protocol):
    """A network that carries masks through a video."""

    def propagate(self, video: Frames, jobs: Sequence[Job], /) -> Iterator[PropagatedFrame]:
        """Find the objects of every job in every frame that is no reference of it.

        A job is swept forwards from its first reference and backwards from its last. The network goes on from each
        reference that it passes, and never forgets it. Whether it also knows those ahead is its own matter.

        Args:
            video: its frames.
            jobs: any references, any objects, no two alike; they come together so that work can be shared.

        Yields:
            in any order, one result for each job and frame before its first reference or behind its last; two for a
            frame between two references, one carried from each of them.
        """
        ...


class PromptedPropagator(Propagator, Protocol):
    """A propagator that also finds what points and boxes show."""

    def prompted_masks(self, video: Frames, prompts: Sequence[Prompt], /) -> Sequence[NDArray[np.bool_]]:
        """The mask [H, W] of each prompt in its frame."""
        ...


@runtime_checkable
class LimitedPropagator(Protocol):
    """A propagator whose memory grows with the number of objects; others need not say anything."""

    def check_memory(self, size: tuple[int, int], objects: Sequence[int], references: int = 1, /) -> None:
        """Check that there is memory for objects, before work begins.

        Args:
            size: (H, W) of the video.
            objects: how many each job has.
            references: most that a job has.

        Raises:
            InputError: there is not; says how many fit.
        """
        ...


@runtime_checkable
class ExpectingPropagator(Protocol):
    """A propagator that can read a video while it works on another one; others need not say anything."""

    def expect(self, begin: Callable[[], tuple[Frames, int]], /) -> None:
        """Begin to read the video that `propagate` gets next. Faults in it are left for then.

        Args:
            begin: gives its frames, and the first of them that a job refers to; called by a thread.
        """
        ...


def _pixels(size: Sequence[int]) -> str:
    return " x ".join(str(side) for side in size)
