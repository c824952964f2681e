"""Drawn masks as the references of a propagator, and what it finds as masks of the frames between them.

An anchor is a drawn mask that shows the object. It is carried both ways, up to the next frame that the user has
settled: a drawn one, one where the object is not there, or a locked one. Between two anchors the masks of the earlier
count up to the frame where both agree most, and those of the later behind it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mask_interchange import Expression, MaskTrack, VideoMasks
from mask_interchange.rle import decode_runs, empty_mask

from fusion_core.view.corrections import Corrections
from fusion_core.view.library import OpenVideo
from fusion_core.voting.overlap import frame_ious

AGREE = 0.6  # mean IoU of both ways below which they disagree everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Frames that are not settled, and the anchors at their ends.

    Attributes:
        start: first frame.
        stop: the one after the last.
        before: the anchor before them, always `start - 1`; None if that frame is no anchor.
        behind: the anchor behind them, always `stop`; None likewise.
    """

    start: int
    stop: int
    before: int | None
    behind: int | None


def gaps(corrections: Corrections, e: int, start: int, stop: int) -> list[Gap]:
    """The gaps beside at least one anchor that share a frame with start..stop-1, whole."""
    frames = corrections.journal.subject.frames
    settled = [corrections.is_settled(e, i) for i in range(frames)]
    empty = empty_mask(corrections.journal.subject.size)

    def anchor(i: int) -> int | None:
        is_drawn = 0 <= i < frames and corrections.kind(e, i) == "draw"
        return i if is_drawn and corrections.mask(e, i) != empty else None

    found = []
    for a, b in _open_stretches(settled):
        gap = Gap(start=a, stop=b, before=anchor(a - 1), behind=anchor(b))
        if a < stop and start < b and (gap.before is not None or gap.behind is not None):
            found.append(gap)
    return found


def _open_stretches(settled: Sequence[bool]) -> Iterator[tuple[int, int]]:
    start = None
    for i, is_settled in enumerate([*settled, True]):
        if is_settled and start is not None:
            yield start, i
            start = None
        elif not is_settled and start is None:
            start = i


def references(opened: OpenVideo, corrections: Corrections, e: int, anchors: Sequence[int]) -> VideoMasks:
    """A track for each anchor, called by the number of its frame: its mask there, nothing elsewhere."""
    subject = corrections.journal.subject
    empty = empty_mask(subject.size)
    tracks = []
    for frame in anchors:
        masks = [empty] * subject.frames
        masks[frame] = corrections.mask(e, frame) or empty
        track = MaskTrack(expression=Expression(id=str(frame)), size=subject.size, masks=tuple(masks), key_frame=frame)
        tracks.append(track)
    return VideoMasks(video=subject.video, size=subject.size, frame_names=opened.frame_names, tracks=tuple(tracks))


def joined(gap: Gap, carried: Mapping[int, Sequence[bytes]]) -> tuple[list[bytes], bool]:
    """The masks of a gap, given those of all frames as carried from each anchor; and whether both ways disagree."""
    frames = slice(gap.start, gap.stop)
    if gap.before is None or gap.behind is None:
        [only] = [anchor for anchor in (gap.before, gap.behind) if anchor is not None]
        return list(carried[only][frames]), False
    forth, back = carried[gap.before][frames], carried[gap.behind][frames]
    ious = frame_ious(decode_runs(forth), decode_runs(back))
    cut = int(ious.argmax()) + 1
    return [*forth[:cut], *back[cut:]], bool(ious.max() < AGREE)
