"""The masks of an object while a propagator finds them, and the track that they become.

Between two frames whose masks are given, both ways come to every frame. The masks from the earlier count up to the
frame where both ways agree most, and those from the later behind it. No pixel is mixed.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from mask_interchange.overlap import frame_ious
from mask_interchange.rle import Size, decode_mask, decode_runs, encode_mask
from mask_interchange.track import Expression, MaskTrack, soft_from_probabilities
from numpy.typing import NDArray

if TYPE_CHECKING:
    from program_kit.propagator import PropagatedFrame


class _Found(NamedTuple):
    """A mask of a frame.

    Attributes:
        mask: its run-length string.
        presence: the probability that the object is there; None if the network tells none.
        soft: reduced probabilities; None where none are kept.
    """

    mask: bytes
    presence: float | None
    soft: NDArray[np.uint8] | None


class GrownTrack:
    """An object on its way through some frames of a video.

    Args:
        size: (H, W) of the video.
        stretch: the frames that are made.
        given: run-length strings of the references, by their frames; at least one, all in the stretch.
        object_id: the id in the job's labels; None for any object.
        soft_masks: longer side in pixels of the probabilities to keep; None for none.
    """

    def __init__(
        self, size: Size, stretch: range, given: Mapping[int, bytes], object_id: int | None, soft_masks: int | None
    ):
        self.given = given
        self._size = size
        self._stretch = stretch
        self._object_id = object_id
        self._soft_masks = soft_masks
        self._found: dict[tuple[int, int], _Found] = {}  # by frame and the reference that it was carried from

    def add(self, found: "PropagatedFrame") -> None:
        """Take what a propagator has found; it counts frames from the first of the stretch."""
        soft = None
        if self._soft_masks is not None:
            soft = soft_from_probabilities([found.probability(self._object_id)], self._soft_masks)[0]
        place = found.frame + self._stretch.start, found.reference + self._stretch.start
        self._found[place] = _Found(encode_mask(found.mask(self._object_id)), found.presence(self._object_id), soft)

    def track(self, expression: Expression, key_frame: int, masks: Sequence[bytes]) -> MaskTrack:
        """The track, when everything is found.

        Args:
            expression: its expression.
            key_frame: its key frame.
            masks: of all frames of the video; those outside the stretch are kept.
        """
        made, agreement = self._made()
        before = [self._kept(mask, None) for mask in masks[: self._stretch.start]]
        behind = [self._kept(mask, None) for mask in masks[self._stretch.stop :]]
        whole = [*before, *made, *behind]
        scores = [one.presence for one in whole]
        if len(self.given) > 1:
            scores = [*[1.0] * len(before), *agreement, *[1.0] * len(behind)]
        return MaskTrack(
            expression=expression,
            size=self._size,
            masks=tuple(one.mask for one in whole),
            scores=None if None in scores else np.array(scores, np.float32),
            key_frame=key_frame,
            soft=None if self._soft_masks is None else np.stack([one.soft for one in whole if one.soft is not None]),
        )

    def _kept(self, mask: bytes, presence: float | None) -> _Found:
        """A mask that nobody has to find."""
        soft = None
        if self._soft_masks is not None:
            soft = soft_from_probabilities([decode_mask(mask, self._size).astype(np.float32)], self._soft_masks)[0]
        return _Found(mask, presence, soft)

    def _made(self) -> tuple[list[_Found], list[float]]:
        """What the frames of the stretch become, and for each how far both ways agree; 1 where there is one way."""
        made: list[_Found] = []
        agreement: list[float] = []
        references = sorted(self.given)
        for before, behind in pairwise([None, *references, None]):
            if before is not None:
                made.append(self._kept(self.given[before], 1.0))
                agreement.append(1.0)
            start = self._stretch.start if before is None else before + 1
            frames = range(start, self._stretch.stop if behind is None else behind)
            forth, back = ([self._found[i, one] for i in frames] if one is not None else [] for one in (before, behind))
            if forth and back:
                ious = frame_ious(*(decode_runs([one.mask for one in way]) for way in (forth, back)))
                cut = int(ious.argmax()) + 1
                made += [*forth[:cut], *back[cut:]]
                agreement += ious.tolist()
            else:
                made += forth or back
                agreement += [1.0] * len(frames)
        return made, agreement
