"""Drawn masks as the references of a propagator.

An anchor is a drawn mask that shows the object. It is carried both ways, up to the next frame that the user has
settled: one where the object is not there, or a locked one. What is carried between two anchors, the propagator decides
(`program_kit.grown_track`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from mask_interchange import MaskTrack, VideoMasks
from mask_interchange.rle import empty_mask

from fusion_core.view.corrections import Corrections
from fusion_core.view.library import OpenVideo

AGREE = 0.6  # IoU of both ways below which they disagree


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Frames through which masks are carried at once.

    Attributes:
        frames: all of them, anchors and those that get masks; no other frame is settled.
        anchors: in order; at least one.
        gaps: the stretches that get masks; each touches an anchor.
    """

    frames: range
    anchors: Sequence[int]
    gaps: Sequence[range]

    def is_between(self, gap: range) -> bool:
        """Whether a gap lies between two anchors."""
        return gap.start - 1 in self.anchors and gap.stop in self.anchors


def spans(corrections: Corrections, e: int, start: int, stop: int) -> list[Span]:
    """The spans whose gaps share a frame with start..stop-1; a gap is taken whole, with the anchors at its ends."""
    empty = empty_mask(corrections.journal.subject.size)

    def kind(i: int) -> str:
        if not corrections.is_settled(e, i):
            return "open"
        is_anchor = corrections.kind(e, i) == "draw" and corrections.mask(e, i) != empty
        return "anchor" if is_anchor else "border"

    kinds = [kind(i) for i in range(corrections.journal.subject.frames)]
    found = []
    for frames in _stretches(kinds, lambda one: one != "border"):
        anchors = [i for i in frames if kinds[i] == "anchor"]
        gaps = [
            range(frames.start + gap.start, frames.start + gap.stop)
            for gap in _stretches([kinds[i] for i in frames], lambda one: one == "open")
        ]
        wanted = [gap for gap in gaps if gap.start < stop and start < gap.stop]
        if anchors and wanted:
            first = max((i for i in anchors if i < wanted[0].start), default=frames.start)
            last = min((i for i in anchors if i >= wanted[-1].stop), default=frames.stop - 1)
            near = [i for i in anchors if first <= i <= last]
            found.append(Span(frames=range(first, last + 1), anchors=near, gaps=wanted))
    return found


def _stretches(kinds: Sequence[str], is_in: Callable[[str], bool]) -> Iterator[range]:
    start = 0
    for inside, group in groupby(kinds, is_in):
        stop = start + len(list(group))
        if inside:
            yield range(start, stop)
        start = stop


def references(opened: OpenVideo, corrections: Corrections, e: int, anchors: Sequence[int]) -> VideoMasks:
    """A track that has the masks of anchors, and nothing elsewhere."""
    subject = corrections.journal.subject
    empty = empty_mask(subject.size)
    masks = [empty] * subject.frames
    for frame in anchors:
        masks[frame] = corrections.mask(e, frame) or empty
    expression = opened.video.expressions[e]
    track = MaskTrack(expression=expression, size=subject.size, masks=tuple(masks), key_frame=anchors[0])
    return VideoMasks(video=subject.video, size=subject.size, frame_names=opened.frame_names, tracks=(track,))
