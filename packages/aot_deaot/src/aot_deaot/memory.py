"""The memory of the frames so far; the networks themselves keep no state.

A `Memory` belongs to one augmentation and to the object sets that share a key frame. They are stored together, so that
what depends on the image alone (the first layer's keys) is held once for all of them.
"""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from aot_deaot.attention import Entry
from aot_deaot.settings import MemoryPolicy


class TokenBuffer:
    """Entries of many frames, keys in one growing tensor and values in others; attention ignores their order."""

    def __init__(self):
        self._tensors: tuple[Tensor, ...] = ()
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def entry(self) -> Entry:
        """All stored tokens as one entry (views)."""
        return tuple(tensor[:, :, : self._used] for tensor in self._tensors)

    def append(self, entry: Entry) -> None:
        """Add a frame behind the others."""
        self._reserve(entry)
        self._used += entry[0].shape[2]
        self._write(self._used - entry[0].shape[2], entry)

    def replace(self, frame: int, entry: Entry) -> None:
        """Overwrite the frame that was stored as number `frame`."""
        self._write(frame * entry[0].shape[2], entry)

    def _write(self, start: int, entry: Entry) -> None:
        for tensor, part in zip(self._tensors, entry, strict=True):
            tensor[:, :, start : start + part.shape[2]] = part

    def _reserve(self, entry: Entry) -> None:
        """Make room for one more frame; growing by a half each time keeps both copying and unused room small."""
        capacity = self._tensors[0].shape[2] if self._tensors else 0
        tokens = entry[0].shape[2]
        if self._used + tokens <= capacity:
            return
        frames = capacity // tokens
        room = max(frames + 1, frames * 3 // 2) * tokens
        grown = []
        for index, part in enumerate(entry):
            tensor = torch.empty((*part.shape[:2], room, part.shape[3]), dtype=part.dtype, device=part.device)
            if self._tensors:
                tensor[:, :, : self._used] = self._tensors[index][:, :, : self._used]
            grown.append(tensor)
        self._tensors = tuple(grown)


class Memory:
    """Long- and short-term memory of all layers.

    Attributes:
        frame_counter: frames propagated so far.
        last_stored: the counter when a frame last entered the long-term memory.
    """

    def __init__(self, policy: MemoryPolicy):
        self.policy = policy
        self.frame_counter = 0
        self.last_stored = 0
        self._long: list[TokenBuffer] = []
        self._short: deque[Sequence[Entry]] = deque(maxlen=policy.short_term_skip)
        self._references: list[bool] = []  # whether each stored frame is a reference
        self._oldest = 0  # where the search for the oldest droppable frame begins

    @property
    def tokens(self) -> int:
        """Tokens in the long-term memory of a layer."""
        return len(self._long[0]) if self._long else 0

    @property
    def long(self) -> list[Entry]:
        """Long-term memory of every layer."""
        return [buffer.entry for buffer in self._long]

    @property
    def short(self) -> Sequence[Entry]:
        """Short-term memory of every layer."""
        return self._short[0]

    def add_reference(self, entries: Sequence[Entry]) -> None:
        """Remember a frame whose masks were given; it is never dropped."""
        self._store(entries, reference=True)
        self._short.clear()
        self._short.append(entries)
        self.last_stored = 0 if self.policy.restart_clock else self.frame_counter

    def add_frame(self, entries: Sequence[Entry]) -> None:
        """Remember the frame just segmented: as short-term memory and, every `long_term_gap` frames, as long-term."""
        self.frame_counter += 1
        self._short.append(entries)
        gap = self.policy.long_term_gap
        if gap is not None and self.frame_counter - self.last_stored >= gap:
            self._store(entries, reference=False)
            self.last_stored = self.frame_counter

    def _store(self, entries: Sequence[Entry], *, reference: bool) -> None:
        if not self._long:
            self._long = [TokenBuffer() for _ in entries]
        cap = self.policy.long_term_cap
        droppable = [index for index, kept in enumerate(self._references) if not kept]
        if cap is None or len(self._references) < cap or (reference and not droppable):
            for buffer, entry in zip(self._long, entries, strict=True):
                buffer.append(entry)
            self._references.append(reference)
            return
        if not droppable:  # references fill the cap; they matter more than another frame
            return
        place = next((index for index in droppable if index >= self._oldest), droppable[0])
        for buffer, entry in zip(self._long, entries, strict=True):
            buffer.replace(place, entry)
        self._references[place] = reference
        self._oldest = place + 1
