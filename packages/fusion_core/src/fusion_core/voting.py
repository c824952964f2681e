"""Pixel votes on run lengths: no mask is ever drawn as an image.

COCO run lengths go down the columns and alternate background, foreground, ... . Laid end to end, the T frames of a
track are one line of T*H*W pixels on which a voter's mask rises and falls at a few thousand positions. Sorting these
positions and counting along them gives the number of votes on every stretch between two of them: time follows the
length of the outlines, not the area of the video.

Letters: V voters, T frames, H height, W width, R run lengths of all T masks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from mask_interchange.rle import RunLengths

Integers = npt.NDArray[np.int64]

BLOCK = 1 << 14  # run lengths of all voters that are counted at a time: what the processor's cache holds


@dataclass(frozen=True, slots=True, eq=False)
class Ballot:
    """What a vote decided, and how each voter stood to it.

    Attributes:
        runs: the T masks of the result.
        area: foreground pixels of the result, all frames together.
        areas: int64 [V], foreground pixels of each voter.
        shared: int64 [V], pixels of the result that the voter voted for.
    """

    runs: RunLengths
    area: int
    areas: Integers
    shared: Integers


def vote(voters: Sequence[RunLengths], needed: int, size: tuple[int, int]) -> Ballot:
    """Foreground where at least `needed` of the voters say so.

    Args:
        voters: V times T masks of `size`, which they must fill exactly (`RunLengths.check`).
        needed: votes that make a pixel foreground, 1 to V.
        size: (H, W).

    Source: `iccv2023_RVOS_Challenge` soc_test/test_swap_1.py:181-199 and test_ensemble_1.py, which add up images.
    """
    pixels = size[0] * size[1]
    areas, shared = np.zeros((2, len(voters)), np.int64)
    area = 0
    results = []
    for start, stop in _blocks(voters):
        count = _Count([_frames(voter, start, stop) for voter in voters], needed)
        results.append(_runs_between(count.edges, stop - start, pixels))
        area += count.area
        areas += count.areas
        shared += count.shared
    return Ballot(_joined(results), area, areas, shared)


def overlap(one: RunLengths, other: RunLengths) -> tuple[int, int]:
    """Pixels in both and pixels in either of two tracks with equally many frames, all frames together."""
    both = total = 0
    for start, stop in _blocks([one, other]):
        count = _Count([_frames(one, start, stop), _frames(other, start, stop)], needed=2)
        both += count.area
        total += int(count.areas.sum())
    return both, total - both


class _Count:
    """Votes counted along a block of frames.

    Attributes:
        edges: positions at which the result rises and falls in turn, strictly increasing, even in number.
        area, areas, shared: as in `Ballot`, for this block.
    """

    def __init__(self, voters: Sequence[RunLengths], needed: int) -> None:
        bits = len(voters).bit_length()
        edges = [_edges(runs) for runs in voters]
        keys = np.concatenate([_keys(positions, voter, bits) for voter, positions in enumerate(edges)])
        keys.sort(kind="stable")  # merges the voters' keys, each in order already: several times faster than quicksort
        position = keys >> (bits + 1)
        foreground = np.cumsum((keys & 1) * 2 - 1) >= needed  # on the stretch from this position to the next

        settled = np.ones(len(keys), bool)  # where several voters change at one position only the last count holds
        np.not_equal(position[1:], position[:-1], out=settled[:-1])
        settled = np.flatnonzero(settled)
        turned = np.diff(foreground[settled], prepend=False)
        self.edges = position[settled[turned]]

        self.area = _area(self.edges)
        self.areas = np.array([_area(positions) for positions in edges])
        self.shared = self._shared(keys, position, foreground, bits, len(voters))

    def _shared(
        self, keys: Integers, position: Integers, foreground: npt.NDArray[np.bool_], bits: int, voters: int
    ) -> Integers:
        # Area of the result to the left of each position: a voter shares with it what it gains from a rise to a fall.
        area_before = np.zeros(len(keys), np.int64)
        np.cumsum(np.diff(position) * foreground[:-1], out=area_before[1:])
        # Voter and direction of every edge as one number. The sums are exact: in a block they stay far below 2**53.
        sums = np.bincount(keys & ((2 << bits) - 1), weights=area_before, minlength=2 << bits)
        return (sums[::2] - sums[1::2])[:voters].astype(np.int64)


def _edges(runs: RunLengths) -> Integers:
    """Positions at which a voter's mask rises and falls in turn."""
    stop = runs.starts[1:]
    odd = (stop - runs.starts[:-1]) % 2 == 1  # closes with background, behind which nothing rises
    return np.delete(np.cumsum(runs.lengths), stop[odd] - 1)


def _keys(positions: Integers, voter: int, bits: int) -> Integers:
    """Sortable keys: position, then voter, then 1 where it rises and 0 where it falls."""
    keys = (positions << (bits + 1)) | (voter << 1)
    keys[::2] |= 1
    return keys


def _area(edges: Integers) -> int:
    return int(edges[1::2].sum() - edges[::2].sum())


def _runs_between(edges: Integers, frames: int, pixels: int) -> RunLengths:
    """Run lengths of each frame of a block, from the positions at which its line of pixels changes."""
    frame, rise, fall = _split_at_frames(edges[::2], edges[1::2], pixels)
    pieces = np.bincount(frame, minlength=frames)
    stop = np.cumsum(pieces)
    frame_start = np.arange(frames) * pixels
    filled = pieces > 0

    left_end = np.roll(fall, 1)  # where the background before each piece begins
    left_end[(stop - pieces)[filled]] = frame_start[filled]
    last_fall = frame_start.copy()
    last_fall[filled] = fall[stop[filled] - 1]

    # Background and foreground of each piece, and one closing background a frame, left out where it is empty.
    lengths = np.empty(2 * len(frame) + frames, np.int64)
    slot = 2 * np.arange(len(frame)) + frame
    lengths[slot] = rise - left_end
    lengths[slot + 1] = fall - rise
    closing = 2 * stop + np.arange(frames)
    lengths[closing] = frame_start + pixels - last_fall
    has_closing = lengths[closing] > 0
    keep = np.ones(len(lengths), bool)
    keep[closing] = has_closing
    return RunLengths(lengths[keep], _starts(2 * pieces + has_closing))


def _split_at_frames(rise: Integers, fall: Integers, pixels: int) -> tuple[Integers, Integers, Integers]:
    """Cut foreground stretches where a frame ends; returns frame, rise and fall of every piece in order."""
    first = rise // pixels
    pieces = (fall - 1) // pixels - first + 1
    source = np.repeat(np.arange(len(rise)), pieces)
    frame = first[source] + np.arange(len(source)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return frame, np.maximum(rise[source], frame * pixels), np.minimum(fall[source], (frame + 1) * pixels)


def _blocks(voters: Sequence[RunLengths]) -> Iterator[tuple[int, int]]:
    """Ranges of frames that hold about `BLOCK` run lengths of all voters together, at least one frame each."""
    seen = np.sum([runs.starts for runs in voters], axis=0)
    start, frames = 0, len(seen) - 1
    while start < frames:
        stop = max(start + 1, int(np.searchsorted(seen, seen[start] + BLOCK, side="right")) - 1)
        yield start, stop
        start = stop


def _frames(runs: RunLengths, start: int, stop: int) -> RunLengths:
    starts = runs.starts[start : stop + 1]
    return RunLengths(runs.lengths[starts[0] : starts[-1]], starts - starts[0])


def _joined(parts: Sequence[RunLengths]) -> RunLengths:
    counts = [np.diff(part.starts) for part in parts]
    return RunLengths(np.concatenate([part.lengths for part in parts]), _starts(np.concatenate(counts)))


def _starts(counts: Integers) -> Integers:
    return np.concatenate(([0], np.cumsum(counts)))
