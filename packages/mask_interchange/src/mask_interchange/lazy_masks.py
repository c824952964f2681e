"""A `.masks` file of which only those masks are decoded that somebody asks for.

Opening checks the header, the checksum and everything around the masks, and keeps their run-length strings. Soft masks
and support are left out. A string is checked when it is asked for.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mask_interchange.codec import (
    read_file,
    unpack_expression,
    unpack_frame,
    unpack_payload,
    unpack_scores,
    unpack_strings,
)
from mask_interchange.errors import MaskError, MaskFileError
from mask_interchange.fields import MAX_UNPACKED, Budget
from mask_interchange.rle import Size, check_counts, decode_mask
from mask_interchange.track import Expression, check_unique


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LazyTrack:
    """The masks of one expression, still unchecked.

    Attributes:
        expression: whose masks they are.
        size: (H, W) that every mask must have.
        scores: float32 [T], or None.
        key_frame: the frame to propagate from, or None.
    """

    expression: Expression
    size: Size
    scores: NDArray[np.float32] | None
    key_frame: int | None
    _path: Path
    _strings: memoryview
    _ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def nbytes(self) -> int:
        """Memory that the strings take."""
        return self._strings.nbytes + self._ends.nbytes

    def counts(self, i: int) -> bytes:
        """The run-length string of frame `i` (0 to T-1).

        Raises:
            MaskFileError: it is not a mask of this size.
        """
        start = int(self._ends[i - 1]) if i else 0
        counts = bytes(self._strings[start : int(self._ends[i])])
        try:
            check_counts(counts, self.size)
        except MaskError as error:
            place = f"expression {self.expression.id!r}, frame {i}"
            raise MaskFileError(self._path, place, "a sound mask", str(error)) from error
        return counts

    def mask(self, i: int) -> NDArray[np.bool_]:
        """The mask bool [H, W] of frame `i`."""
        return decode_mask(self.counts(i), self.size)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LazyMasks:
    """The content of a `.masks` file; as `VideoMasks`, but masks are checked when asked for."""

    video: str
    size: Size
    frame_names: tuple[str, ...]
    tracks: tuple[LazyTrack, ...]

    @property
    def nbytes(self) -> int:
        """Memory that the strings take."""
        return sum(track.nbytes for track in self.tracks)


def open_masks(path: Path) -> LazyMasks:
    """Open a `.masks` file.

    Raises:
        MaskFileError: the file is absent, unreadable, or not as the format says around its masks.
    """
    fields = unpack_payload(read_file(path), path)
    size, frame_names, described = unpack_frame(fields)
    budget, tracks = Budget(MAX_UNPACKED), []
    for track in described:
        strings, ends = unpack_strings(track, "masks", len(frame_names), size, budget)
        scores, key_frame = unpack_scores(track, len(frame_names))
        if scores is not None and not np.isfinite(scores).all():
            raise track.fault("scores", "finite numbers", f"{scores[~np.isfinite(scores)][0]}")
        tracks.append(
            LazyTrack(
                expression=unpack_expression(track),
                size=size,
                scores=scores,
                key_frame=key_frame,
                _path=path,
                _strings=strings,
                _ends=ends,
            )
        )
    try:
        check_unique("frame", frame_names)
        check_unique("expression", tuple(track.expression.id for track in tracks))
    except MaskError as error:
        raise MaskFileError(path, "payload", "a sound record", str(error)) from error
    return LazyMasks(video=fields.text("video"), size=size, frame_names=frame_names, tracks=tuple(tracks))
