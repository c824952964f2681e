"""The memory of the frames so far, pixel by pixel: references, long-term memory, working memory.

A pixel of a new frame reads the few remembered pixels whose keys are most like its own. Keys belong to images, values
to objects: which pixels are read, and which are worth remembering, is equal for all objects that share references.
"""

import math
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cutie.encoder import FrameKeys
from cutie.settings import LongTerm, MemoryPolicy

UNUSED = 1e-7  # age of a new pixel in frames, so that its use is a number


class Tokens(NamedTuple):
    """Remembered pixels.

    Attributes:
        key, shrinkage, selection: as in `FrameKeys`, [n, ...] each.
        values: float32 [n, N * C], of N objects.
        use: float32 [n], how much was read from each since it came.
        age: float32 [n], frames since it came.
    """

    key: Tensor
    shrinkage: Tensor
    selection: Tensor
    values: Tensor
    use: Tensor
    age: Tensor

    @classmethod
    def of(cls, keys: FrameKeys, values: Tensor) -> Self:
        """All pixels of a frame, with the values [N, C, h, w] of its objects."""
        rows = values.float().flatten(2).permute(2, 0, 1).flatten(1)
        return cls(*keys, rows, *_fresh(keys.key))

    def pick(self, which: slice | Tensor) -> "Tokens":
        """Some of them."""
        return Tokens(*(column[which] for column in self))

    def join(self, *others: "Tokens") -> "Tokens":
        """These, then the others."""
        return Tokens(*(torch.cat(columns) for columns in zip(self, *others, strict=True)))


def _fresh(like: Tensor) -> tuple[Tensor, Tensor]:
    return like.new_zeros(len(like)), like.new_full((len(like),), UNUSED)


def likeness(query: Tensor, selection: Tensor, key: Tensor, shrinkage: Tensor) -> Tensor:
    """How like each remembered pixel is to each pixel that searches, float32 [q, n], at most 0.

    It is the negative squared distance of their keys, each channel weighted by `selection`, times `shrinkage`.

    Args:
        query: keys of those that search [q, key_dim].
        selection: of those that search [q, key_dim].
        key: of the remembered ones [n, key_dim].
        shrinkage: of the remembered ones [n, 1].
    """
    weighted = selection * query
    distance = selection @ key.square().mT - 2 * weighted @ key.mT + (weighted * query).sum(dim=1, keepdim=True)
    return -distance * (shrinkage.mT / math.sqrt(key.shape[1]))


class Memory:
    """What is remembered since one key frame. The tokens stand in this order: references, long-term, working memory.

    Nothing is ever changed in place, so that `copy.copy` gives a memory that goes its own way.

    Args:
        policy: which frames are remembered, for how long.
        keys: of the key frame; its pixels are never dropped.
        values: of its objects, [N, C, h, w].
    """

    def __init__(self, policy: MemoryPolicy, keys: FrameKeys, values: Tensor):
        self.policy = policy
        self._tokens = Tokens.of(keys, values)
        self._frame = self._permanent = len(self._tokens.key)  # tokens of one frame, and of all references
        self._condensed = 0  # tokens of the long-term memory
        self._shape = values.shape[:2]

    @property
    def condensed(self) -> int:
        """Tokens of the long-term memory."""
        return self._condensed

    @property
    def working(self) -> int:
        """Tokens of the working memory, the references left out."""
        return len(self._tokens.key) - self._permanent - self._condensed

    def add_reference(self, keys: FrameKeys, values: Tensor) -> None:
        """Remember a further frame whose pixels are never dropped; before the first `add`."""
        assert len(self._tokens.key) == self._permanent
        self._tokens = self._tokens.join(Tokens.of(keys, values))
        self._permanent += self._frame

    def read(self, keys: FrameKeys, size: tuple[int, int]) -> Tensor:
        """What the memory holds for every pixel of a frame, float32 [N, C, h, w].

        Args:
            keys: of the frame.
            size: (h, w).
        """
        tokens = self._tokens
        like = likeness(keys.key, keys.selection, tokens.key, tokens.shrinkage)
        best = like.topk(min(self.policy.top, like.shape[1]), dim=1)
        weights = best.values.softmax(dim=1)
        if self.policy.long_term is not None:
            read = torch.zeros_like(tokens.use).index_add(0, best.indices.flatten(), weights.flatten())
            self._tokens = tokens._replace(use=tokens.use + read, age=tokens.age + 1)
        found = F.embedding_bag(best.indices, tokens.values, mode="sum", per_sample_weights=weights)
        return found.unflatten(1, self._shape).permute(1, 2, 0).unflatten(2, size)

    def add(self, keys: FrameKeys, values: Tensor) -> None:
        """Remember a frame with the values [N, C, h, w] of its objects, and make room."""
        self._tokens = self._tokens.join(Tokens.of(keys, values))
        long_term = self.policy.long_term
        if long_term is None:
            self._keep(self._tokens.pick(slice(0)), self.policy.frames)
        elif self.working >= (long_term.most_frames - 1) * self._frame:
            self._condense(long_term)

    def _keep(self, condensed: Tokens, frames: int) -> None:
        """Keep the references, these tokens as long-term memory, and the last frames of the working memory."""
        newest = len(self._tokens.key) - min(self.working, (frames - 1) * self._frame)
        references, working = self._tokens.pick(slice(self._permanent)), self._tokens.pick(slice(newest, None))
        self._tokens = references.join(condensed, working)
        self._condensed = len(condensed.key)

    def _condense(self, long_term: LongTerm) -> None:
        """Move all but the last frames of the working memory to the long-term memory, as a few prototypes."""
        start, room = self._permanent + self._condensed, long_term.most_tokens - long_term.prototypes
        condensed = self._tokens.pick(slice(self._permanent, start))
        if len(condensed.key) >= room:
            condensed = condensed.pick(_most_used(condensed, room - long_term.spare_tokens))
        leaving = self._tokens.pick(slice(start, -(long_term.least_frames - 1) * self._frame))
        self._keep(condensed.join(_prototypes(leaving, long_term.prototypes)), long_term.least_frames)


def _most_used(tokens: Tokens, count: int) -> Tensor:
    return (tokens.use / tokens.age).topk(min(count, len(tokens.use))).indices


def _prototypes(tokens: Tokens, count: int) -> Tokens:
    """The most used tokens; their values and their shrinkage are means over all that are like them."""
    chosen = tokens.pick(_most_used(tokens, count))
    weights = likeness(chosen.key, chosen.selection, tokens.key, tokens.shrinkage).softmax(dim=1)
    use, age = _fresh(chosen.key)
    return chosen._replace(shrinkage=weights @ tokens.shrinkage, values=weights @ tokens.values, use=use, age=age)
