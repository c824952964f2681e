"""COCO run-length encoding: binary masks as short byte strings.

A mask [H, W] is read column by column; the lengths of its runs, background first (possibly 0), are written as the
"compressed counts" string of the COCO API: from the fourth run on, each length is stored as the difference to the
length two runs before it, in groups of five bits, least significant first, as one character (48 + group, + 32 if
another group follows; the last group's highest bit is the sign).

pycocotools makes the strings. They are decoded here: voting and checking work on the run lengths themselves, and numpy
decodes the strings of a whole track in one pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from mask_interchange.errors import MaskError

MAX_SIDE = 32_768
MAX_PIXELS = 2**26  # 8192 x 8192, twice an 8K frame
MAX_MASK_BYTES = 2**23  # of one string: a mask that changes at every pixel of a 4K frame
_MAX_GROUPS = 6  # 30 bits: more than any difference of two run lengths needs
_BLOCK = 2**18  # bytes of strings decoded at once

Size = tuple[int, int]  # (height, width)


@dataclass(frozen=True, slots=True, eq=False)
class RunLengths:
    """Run lengths of several masks, one after another.

    Attributes:
        lengths: int64 [R], every mask's runs in column-major order, background first.
        starts: int64 [T+1]; mask `t` owns `lengths[starts[t]:starts[t + 1]]`.
    """

    lengths: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def frame(self, t: int) -> NDArray[np.int64]:
        """Run lengths of mask `t`."""
        return self.lengths[self.starts[t] : self.starts[t + 1]]

    def areas(self) -> NDArray[np.int64]:
        """Foreground pixels of every mask, int64 [T]."""
        foreground = np.where(self._positions() % 2 == 1, self.lengths, 0)
        return np.add.reduceat(foreground, self.starts[:-1])

    def _positions(self) -> NDArray[np.int64]:
        """Index of every run within its own mask."""
        return np.arange(len(self.lengths)) - np.repeat(self.starts[:-1], np.diff(self.starts))


def decode_runs(masks: Sequence[bytes], size: Size | None = None) -> RunLengths:
    """Run lengths of a sequence of compressed counts strings.

    Args:
        masks: the strings.
        size: (H, W) that every mask must fill; None leaves that unchecked.

    Raises:
        MaskError: names the first string that is empty or too long, holds a foreign byte, a number cut off, in more
            characters than it needs or beyond 30 bits, or whose runs do not fill `size` or are empty after the first.
    """
    lengths, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for runs in _decoded_blocks(masks, size):
        lengths.append(runs.lengths)
        counts.append(np.diff(runs.starts))
    return RunLengths(np.concatenate(lengths), np.concatenate(([0], np.cumsum(np.concatenate(counts)))))


def check_masks(masks: Sequence[bytes], size: Size) -> None:
    """Raise the MaskErrors of `decode_runs`, without keeping the run lengths: they take many times the strings."""
    for _ in _decoded_blocks(masks, size):
        pass


def longest_string(size: Size) -> int:
    """Bytes of the longest string that a mask of `size` can have.

    There are at most H W + 1 runs, a character each. Further characters of a number are at most one for every 16 pixels
    of the two runs that it compares, so all of them are at most an eighth of the pixels.
    """
    pixels = size[0] * size[1]
    return min(MAX_MASK_BYTES, pixels + pixels // 8 + 1)


def _decoded_blocks(masks: Sequence[bytes], size: Size | None) -> Iterator[RunLengths]:
    most = MAX_MASK_BYTES if size is None else longest_string(size)
    for first, block in _blocks(masks):
        try:
            _check_lengths(block, most)
            runs = _decode_block(block)
            if size is not None:
                _check_fill(runs, size)
        except _MaskFault as fault:
            raise MaskError(f"mask {first + fault.mask}: {fault.reason}") from None
        yield runs


def check_runs(runs: RunLengths, size: Size) -> RunLengths:
    """Return `runs`, or raise MaskError unless each mask fills `size` and has empty runs nowhere but first."""
    try:
        _check_fill(runs, size)
    except _MaskFault as fault:
        raise MaskError(f"mask {fault.mask}: {fault.reason}") from None
    return runs


def _blocks(masks: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Pieces of about `_BLOCK` bytes with the number of their first mask; they bound the decoder's scratch memory."""
    start, size = 0, 0
    for t, counts in enumerate(masks):
        size += len(counts)
        if size >= _BLOCK or t == len(masks) - 1:
            yield start, masks[start : t + 1]
            start, size = t + 1, 0


def _decode_block(masks: Sequence[bytes]) -> RunLengths:
    ends = np.cumsum([len(counts) for counts in masks])
    groups = np.frombuffer(b"".join(masks), np.uint8) - np.uint8(48)  # wraps below 48, so one comparison is enough
    _check_characters(groups, ends)

    last = np.flatnonzero(groups < 32)  # the group that ends each number
    width = last.copy()
    width[0] += 1
    width[1:] -= last[:-1]
    widest = int(width.max())
    if widest > _MAX_GROUPS:
        fault = f"expected numbers of at most {_MAX_GROUPS} characters, found one of {widest}"
        raise _MaskFault(_owner(ends, last[np.argmax(width)]), fault)
    _check_shortest(groups, last[width > 1], ends)
    values = groups[last].astype(np.int64)  # the most significant group, with its sign
    values ^= 16
    values -= 16
    for k in range(1, widest):
        longer = np.flatnonzero(width > k)
        values[longer] = values[longer] << 5 | (groups[last[longer] - k] & 31)

    starts = np.concatenate(([0], np.searchsorted(last, ends)))
    return RunLengths(_undo_differences(values, starts), starts)


def _check_fill(runs: RunLengths, size: Size) -> None:
    """Every mask's runs must fill `size`, and only the first may be empty, so that a mask has one spelling."""
    pixels = size[0] * size[1]
    totals = np.add.reduceat(runs.lengths, runs.starts[:-1])
    # A length beyond the mask is a fault by itself: sums of such lengths may wrap around and look right.
    outside = np.logical_or.reduceat((runs.lengths < 0) | (runs.lengths > pixels), runs.starts[:-1])
    hollow = np.logical_or.reduceat((runs.lengths == 0) & (runs._positions() > 0), runs.starts[:-1])
    faults = (totals != pixels) | outside | hollow
    if not faults.any():
        return
    t = int(np.argmax(faults))
    if outside[t]:
        found = "one that is negative or larger"
    elif totals[t] != pixels:
        found = f"{totals[t]} pixels in all"
    else:
        found = "an empty run after the first"
    raise _MaskFault(t, f"expected run lengths that fill {size[0]}x{size[1]} = {pixels} pixels, found {found}")


def _check_lengths(masks: Sequence[bytes], most: int) -> None:
    for t, counts in enumerate(masks):
        if not 0 < len(counts) <= most:
            raise _MaskFault(t, f"expected a run-length string of 1 to {most} bytes, found {len(counts)}")


def _check_characters(groups: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
    if groups.max() > 63:
        at = int(np.argmax(groups > 63))
        found = (int(groups[at]) + 48) % 256
        raise _MaskFault(_owner(ends, at), f"expected characters from '0' to 'o', found byte {found}")
    unfinished = groups[ends - 1] >= 32
    if unfinished.any():
        raise _MaskFault(int(np.argmax(unfinished)), "expected a whole number at the end, found it cut off")


def _check_shortest(groups: NDArray[np.uint8], last: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
    """A number has one spelling: its last group (at `last`) must say more than the sign of the group before."""
    repeated_sign = (groups[last - 1] >> 4 & 1) * np.uint8(31)
    padded = groups[last] == repeated_sign
    if padded.any():
        fault = "expected every number in its shortest form, found a longer one"
        raise _MaskFault(_owner(ends, last[np.argmax(padded)]), fault)


def _owner(ends: NDArray[np.int64], at: int | np.integer) -> int:
    """The mask that holds character `at` of the joined strings."""
    return int(np.searchsorted(ends, at, side="right"))


class _MaskFault(Exception):  # noqa: N818 - never leaves this file
    """A string at fault, by its number in the block."""

    def __init__(self, mask: int, reason: str):
        self.mask = mask
        self.reason = reason


def _undo_differences(values: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn differences to the run two before into lengths, for all masks at once.

    Every second value of the whole sequence is summed up, whatever masks it crosses. What came before a mask is then
    taken off again: its sums begin behind its first value, which is a length by itself.
    """
    lengths = np.empty_like(values)
    for parity in (0, 1):
        sums = np.concatenate(([0], np.cumsum(values[parity::2])))
        seen = (starts + 1 - parity) // 2  # values of this parity before each mask
        seen_first = (starts[:-1] + 2 - parity) // 2  # the same with the mask's first value
        lengths[parity::2] = sums[1:] - np.repeat(sums[seen_first], np.diff(seen))
    lengths[starts[:-1]] = values[starts[:-1]]
    return lengths


def encode_runs(runs: RunLengths) -> tuple[bytes, ...]:
    """Compressed counts strings, as pycocotools writes them, of many masks' run lengths."""
    if not len(runs):
        return ()
    values = runs.lengths.copy()
    later = np.flatnonzero(runs._positions() > 2)
    values[later] -= runs.lengths[later - 2]

    magnitude = values ^ (values >> 63)  # the bits a number needs besides its sign
    widest = int(magnitude.max()).bit_length() // 5 + 1
    if widest > _MAX_GROUPS:
        raise MaskError(f"run lengths must differ by less than 2**{5 * _MAX_GROUPS - 1}")
    width = np.ones(len(values), np.int64)
    for k in range(1, widest):
        width += magnitude >> (5 * k - 1) > 0

    ends = np.cumsum(width)
    text = np.empty(int(ends[-1]), np.uint8)
    at, left = ends - width, width  # the next character of each number, and how many it still has
    while len(at):
        more = left > 1
        text[at] = (values & 31) + np.where(more, 48 + 32, 48)
        at, left, values = at[more] + 1, left[more] - 1, values[more] >> 5
    joined = text.tobytes()
    cuts = np.concatenate(([0], ends[runs.starts[1:] - 1])).tolist()
    return tuple(joined[a:b] for a, b in pairwise(cuts))


def counts_to_runs(counts: bytes) -> NDArray[np.int64]:
    """Run lengths int64 [R] of one mask, background first."""
    return decode_runs([counts]).lengths


def runs_to_counts(runs: NDArray[np.int64]) -> bytes:
    """Compressed counts of one mask's run lengths [R], background first."""
    lengths = np.asarray(runs, np.int64)
    return encode_runs(RunLengths(lengths, np.array([0, len(lengths)])))[0]


def check_counts(counts: bytes, size: Size) -> None:
    """Raise MaskError unless `counts` is the canonical string of a mask of `size`."""
    decode_runs([counts], check_size(size))


def mask_area(counts: bytes) -> int:
    """Number of foreground pixels."""
    return int(counts_to_runs(counts)[1::2].sum())


def empty_mask(size: Size) -> bytes:
    """The mask of `size` without foreground."""
    return runs_to_counts(np.array([size[0] * size[1]]))


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """Compressed counts of a bool mask [H, W]."""
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype != bool:
        found = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise MaskError(f"expected a mask bool [H, W], found {found}")
    check_size(mask.shape)
    counts = coco.encode(np.asfortranarray(mask).view(np.uint8))["counts"]
    assert isinstance(counts, bytes)  # the type leaves room for the string that JSON needs
    return counts


def unite_masks(masks: Sequence[bytes], size: Size) -> bytes:
    """Compressed counts of the pixels that are in any of the masks of `size`, which must be sound."""
    united = coco.merge([{"size": list(size), "counts": counts} for counts in masks])["counts"]
    assert isinstance(united, bytes)
    return united


def encode_labels(labels: NDArray[np.uint8]) -> dict[int, bytes]:
    """Compressed counts of every label of an image [H, W] except 0, in one pass over its pixels.

    Raises:
        MaskError: the labels change so often that they cannot be masks.
    """
    height, width = check_size(labels.shape)
    column_by_column = labels.ravel(order="F")
    changes = column_by_column[1:] != column_by_column[:-1]
    if (found := np.count_nonzero(changes)) > MAX_MASK_BYTES:
        raise MaskError(f"expected labels that change at most {MAX_MASK_BYTES} times down the columns, found {found}")
    edges = np.concatenate(([0], np.flatnonzero(changes) + 1, [height * width]))
    stretches = np.stack([edges[:-1], edges[1:]], axis=1)  # first pixel and the one after the last
    label = column_by_column[edges[:-1]]
    by_label = np.argsort(label, kind="stable")
    present, first = np.unique(label[by_label], return_index=True)
    encoded = {}
    for value, of_label in zip(present.tolist(), np.split(by_label, first[1:]), strict=True):
        if value != 0:
            runs = np.diff(stretches[of_label].ravel(), prepend=0, append=height * width)
            encoded[value] = runs_to_counts(runs if runs[-1] else runs[:-1])
    return encoded


def decode_mask(counts: bytes, size: Size) -> NDArray[np.bool_]:
    """The mask bool [H, W] of a compressed counts string, which is checked first."""
    return paint(decode_runs([counts], check_size(size)).lengths, size)


def paint(runs: NDArray[np.int64], size: Size) -> NDArray[np.bool_]:
    """The mask bool [H, W] of run lengths [R] that fill it."""
    height, width = size
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def check_size(size: tuple[int, ...]) -> Size:
    """Return (height, width) as two ints, or raise MaskError unless both are sensible."""
    if len(size) != 2 or not all(0 < side <= MAX_SIDE for side in size) or size[0] * size[1] > MAX_PIXELS:
        raise MaskError(
            f"expected (height, width) of 1 to {MAX_SIDE} pixels each and at most {MAX_PIXELS} in all, "
            f"found {tuple(size)}"
        )
    return int(size[0]), int(size[1])
