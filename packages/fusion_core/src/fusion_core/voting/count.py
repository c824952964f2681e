"""Pixel votes on run lengths, without decoding a mask.

COCO run lengths go down the columns and alternate background, foreground, ... . Laid end to end, the T frames of a
track are one line of T*H*W pixels. On it a voter's mask rises and falls at a few thousand positions. To sort these
positions and count along them gives the number of votes on every stretch between two of them. So the time depends on
the length of the outlines, not on the area of the video.

Letters: V voters, T frames, H height, W width, R run lengths of all T masks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from mask_interchange.rle import RunLengths

Integers = npt.NDArray[np.int64]

BLOCK = 1 << 14  # positions of all voters that are counted at a time; they fit into the processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class VoteResult:
    """What a vote decided, and how much of it each voter voted for.

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


def count_votes(voters: Sequence[RunLengths], needed: int, size: tuple[int, int]) -> VoteResult:
    """Foreground where at least `needed` voters have it.

    Args:
        voters: V times T masks of `size`, which they must fill exactly.
        needed: votes that make a pixel foreground, 1 to V.
        size: (H, W).

    Source: `iccv2023_RVOS_Challenge` soc_test/test_swap_1.py:181-199 and test_ensemble_1.py, which add up images.
    """
    edges = [_Edges.of(runs) for runs in voters]
    counts = [_count(block, needed) for block in _blocks(edges)]
    result = np.concatenate([count.edges for count in counts])
    return VoteResult(
        runs=_runs_between(result, len(voters[0]), size[0] * size[1]),
        area=_area(result),
        areas=np.array([_area(one.positions) for one in edges]),
        shared=np.sum([count.shared for count in counts], axis=0),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Where the mask of a voter changes.

    Attributes:
        positions: int64, pixels along the line of frames at which the mask rises and falls in turn.
        starts: int64 [T+1]; frame `t` owns `positions[starts[t]:starts[t + 1]]`, an even number.
    """

    positions: Integers
    starts: Integers

    @classmethod
    def of(cls, runs: RunLengths) -> "_Edges":
        counts = np.diff(runs.starts)
        closing = counts & 1  # an odd last run is background: no mask rises after it
        keep = np.ones(len(runs.lengths), bool)
        keep[runs.starts[1:][closing == 1] - 1] = False
        return cls(np.cumsum(runs.lengths)[keep], _starts(counts - closing))


def _blocks(voters: Sequence[_Edges]) -> Iterator[list[Integers]]:
    """The positions of all voters, some frames at a time: about `BLOCK` of them, at least one frame."""
    seen = np.sum([voter.starts for voter in voters], axis=0)
    start, frames = 0, len(seen) - 1
    while start < frames:
        stop = max(start + 1, int(np.searchsorted(seen, seen[start] + BLOCK, side="right")) - 1)
        yield [voter.positions[voter.starts[start] : voter.starts[stop]] for voter in voters]
        start = stop


@dataclass(frozen=True, slots=True, eq=False)
class _Count:
    """Where the result of a block of frames changes, and `VoteResult.shared` of this block."""

    edges: Integers
    shared: Integers


def _count(voters: Sequence[Integers], needed: int) -> _Count:
    """Count the votes along a block of frames, given the positions at which each voter rises and falls in turn."""
    bits = len(voters).bit_length()
    keys = np.concatenate([_keys(positions, voter, bits) for voter, positions in enumerate(voters)])
    keys.sort(kind="stable")  # merges lists that are sorted already: several times faster than quicksort
    position = keys >> (bits + 1)
    foreground = np.cumsum((keys & 1) * 2 - 1) >= needed  # on the stretch from this position to the next

    stretch = np.diff(position, append=-1)
    settled = np.flatnonzero(stretch)  # if several voters change at one position, only the last count holds
    state = foreground[settled]
    turned = state != np.concatenate(([False], state[:-1]))

    # Area of the result to the left of each position. What it gains from a voter's rise to its fall, both share.
    area_before = np.zeros(len(keys), np.int64)
    np.cumsum(stretch[:-1] * foreground[:-1], out=area_before[1:])
    # Voter and direction of an edge are one number here. Sums within a block are small enough to be exact in float64.
    sums = np.bincount(keys & ((2 << bits) - 1), weights=area_before, minlength=2 << bits)
    shared = (sums[::2] - sums[1::2])[: len(voters)].astype(np.int64)
    return _Count(position[settled[turned]], shared)


def _keys(positions: Integers, voter: int, bits: int) -> Integers:
    """Sortable keys: position, then voter, then 1 where it rises and 0 where it falls."""
    keys = (positions << (bits + 1)) | (voter << 1)
    keys[::2] |= 1
    return keys


def _area(edges: Integers) -> int:
    return int(edges[1::2].sum() - edges[::2].sum())


def _runs_between(edges: Integers, frames: int, pixels: int) -> RunLengths:
    """Run lengths of each frame, from the positions at which the line of pixels rises and falls in turn."""
    frame, rise, fall = _split_at_frames(edges[::2], edges[1::2], pixels)
    pieces = np.bincount(frame, minlength=frames)
    stop = np.cumsum(pieces)
    frame_start = np.arange(frames) * pixels
    filled = pieces > 0

    left_end = np.roll(fall, 1)  # where the background before each piece begins
    left_end[(stop - pieces)[filled]] = frame_start[filled]
    last_fall = frame_start.copy()
    last_fall[filled] = fall[stop[filled] - 1]

    # Background and foreground of each piece, and a closing background for each frame, unless it is empty.
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


def _starts(counts: Integers) -> Integers:
    return np.concatenate(([0], np.cumsum(counts)))
