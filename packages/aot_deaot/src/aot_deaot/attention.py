"""Attention to memory: to every stored token (long-term), and to the neighbourhood in one earlier frame (short-term).

Shape letters: B object sets, L tokens of a frame (h x w of them, row by row), M stored tokens, N heads, d channels of a
head's queries and keys, e of its values. What depends on the image alone has B = 1: when queries and keys do, the
attention weights of all object sets are computed once.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from program_kit.torch.memory import rows_at_once
from torch import Tensor, nn

Entry = tuple[Tensor, ...]
"""Keys [B or 1, N, M, d] followed by one or more values [B or 1, N, M, e]."""

STEPS = 4  # copies of the attention weights that exist at a time where no fused kernel applies


def split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """[B, L, num_heads * d] to [B, num_heads, L, d]."""
    return rearrange(tokens, "b l (n d) -> b n l d", n=num_heads)


def merge_heads(tokens: Tensor) -> Tensor:
    """[B, num_heads, L, d] to [B, L, num_heads * d]."""
    return rearrange(tokens, "b n l d -> b l (n d)")


def _weigh(weights: Tensor, value: Tensor) -> Tensor:
    """`weights` [B, ..., q, k] times `value` [b, ..., k, e]; one set of weights serves every object set at once."""
    sets = value.shape[0]
    if weights.shape[0] > 1 or sets == 1:
        return weights @ value
    columns = weights @ rearrange(value, "b ... k e -> 1 ... k (b e)")
    return rearrange(columns, "1 ... q (b e) -> b ... q e", b=sets)


def attend(query: Tensor, entry: Entry) -> list[Tensor]:
    """Softmax attention over all stored tokens, scaled by 1 / sqrt(d).

    Args:
        query: float [B or 1, N, L, d].
        entry: keys and values of the memory.

    Returns:
        For each of the entry's values, float [B or 1, N, L, e].
    """
    key, *values = entry
    shared = query.shape[0] == key.shape[0] == 1 < max(value.shape[0] for value in values)
    if len(values) == 1 and not shared and values[0].shape[-1] == key.shape[-1]:
        return [F.scaled_dot_product_attention(query, key.expand(query.shape[0], -1, -1, -1), values[0])]
    per_query = max(query.shape[0], key.shape[0]) * key.shape[1] * key.shape[2]
    at_once = rows_at_once(query.device, STEPS * per_query * query.element_size())
    blocks = []
    for block in (query * query.shape[-1] ** -0.5).split(at_once, dim=2):
        weights = (block @ key.mT).softmax(dim=-1)
        blocks.append([_weigh(weights.to(value.dtype), value) for value in values])
    return [torch.cat(parts, dim=2) for parts in zip(*blocks, strict=True)]


def joined(parts: Sequence[Tensor], sets: Sequence[int]) -> Tensor:
    """Join the parts of a batch; a tensor that all parts share stays single, others are repeated for their sets."""
    if all(part is parts[0] for part in parts):
        return parts[0]
    return torch.cat([part.expand(count, *part.shape[1:]) for part, count in zip(parts, sets, strict=True)])


def attend_each(query: Tensor, entries: Sequence[Entry]) -> list[Tensor]:
    """`attend` for object sets that remember different frames.

    Args:
        query: float [B or 1, N, L, d]; B is the number of object sets of all entries together.
        entries: memories of consecutive parts of the batch.

    Returns:
        For each of the entries' values, float [B, N, L, e].
    """
    if len(entries) == 1:
        return attend(query, entries[0])
    sets = [entry[-1].shape[0] for entry in entries]
    queries = query.split(sets) if query.shape[0] > 1 else [query] * len(entries)
    parts = [attend(q, entry) for q, entry in zip(queries, entries, strict=True)]
    return [joined(values, sets) for values in zip(*parts, strict=True)]


class RelativePosition(nn.Module):
    """Learned logits, and for AOT learned values, of the (2 radius + 1)^2 places around a query."""

    def __init__(self, num_heads: int, head_dim: int, radius: int, *, values: bool):
        super().__init__()
        places = (2 * radius + 1) ** 2
        self.radius = radius
        self.weight = nn.Parameter(torch.empty(num_heads, places, head_dim))
        self.bias = nn.Parameter(torch.zeros(num_heads, places))
        self.value = nn.Parameter(torch.zeros(num_heads, head_dim, places)) if values else None
        nn.init.normal_(self.weight, std=head_dim**-0.5)

    def logits(self, query: Tensor) -> Tensor:
        """Unscaled queries [B, N, tiles, q, d] to logits [B, N, tiles, q, places]."""
        return torch.einsum("bntqd,npd->bntqp", query, self.weight) + self.bias[:, None, None]


class Tiling:
    """Cuts an h x w map into square tiles, and the map of keys into the patches that the tiles' windows reach.

    Every query of a tile finds its window inside one patch, so that matrix products over patches replace the gathering
    of a window for each query. A tile's side is radius + 1: even a query that only fills up a tile then has a key.
    """

    def __init__(self, height: int, width: int, radius: int):
        self.height, self.width, self.radius = height, width, radius
        self.side = radius + 1
        self.patch = self.side + 2 * radius
        self.rows, self.columns = -(-height // self.side), -(-width // self.side)
        self.fill = (self.rows * self.side - height, self.columns * self.side - width)

    def queries(self, tokens: Tensor) -> Tensor:
        """[B, N, h w, d] to [B, N, tiles, side^2, d]."""
        grid = rearrange(tokens, "b n (h w) d -> b n h w d", h=self.height)
        grid = F.pad(grid, (0, 0, 0, self.fill[1], 0, self.fill[0]))
        return rearrange(grid, "b n (r i) (c j) d -> b n (r c) (i j) d", i=self.side, j=self.side)

    def patches(self, tokens: Tensor) -> Tensor:
        """[B, N, h w, d] to [B, N, tiles, patch^2, d]; places outside the map hold zeros."""
        grid = rearrange(tokens, "b n (h w) d -> b n h w d", h=self.height)
        reach = self.radius
        grid = F.pad(grid, (0, 0, reach, reach + self.fill[1], reach, reach + self.fill[0]))
        views = grid.unfold(2, self.patch, self.side).unfold(3, self.patch, self.side)
        return rearrange(views, "b n r c d p q -> b n (r c) (p q) d")

    def restore(self, tiles: Tensor) -> Tensor:
        """[B, N, tiles, side^2, d] to [B, N, h w, d]."""
        grid = rearrange(
            tiles, "b n (r c) (i j) d -> b n (r i) (c j) d", r=self.rows, c=self.columns, i=self.side, j=self.side
        )
        return grid[:, :, : self.height, : self.width].flatten(2, 3)

    def windows(self, over_patch: Tensor) -> Tensor:
        """A view of [..., side^2, patch^2] that keeps each query's own window: [..., side, side, window, window].

        The window of query (i, j) starts at place (i, j) of the patch, so moving to the next query also moves the
        window by one: two strides of the view are sums of two strides of the tensor.
        """
        grid = over_patch.unflatten(-1, (self.patch, self.patch)).unflatten(-3, (self.side, self.side))
        *lead, down, right, below, beside = grid.stride()
        span = 2 * self.radius + 1
        shape = (*grid.shape[:-2], span, span)
        return grid.as_strided(shape, (*lead, down + below, right + beside, below, beside), grid.storage_offset())

    def inside(self, device: torch.device) -> Tensor:
        """Bool [tiles, side^2, window^2]: whether a window's place lies on the map."""

        def reach(length: int, tiles: int) -> Tensor:
            query = torch.arange(tiles * self.side, device=device)[:, None]
            place = query + torch.arange(-self.radius, self.radius + 1, device=device)
            return (place >= 0) & (place < length)

        down, right = reach(self.height, self.rows), reach(self.width, self.columns)
        both = down[:, None, :, None] & right[None, :, None, :]
        return rearrange(both, "(r i) (c j) y x -> (r c) (i j) (y x)", i=self.side, j=self.side)


@lru_cache(maxsize=16)
def _tiling(height: int, width: int, radius: int, device: torch.device) -> tuple[Tiling, Tensor]:
    tiling = Tiling(height, width, radius)
    return tiling, tiling.inside(device)


def attend_nearby(query: Tensor, entry: Entry, position: RelativePosition, size: tuple[int, int]) -> list[Tensor]:
    """Softmax attention over the window around each query's place in one remembered frame.

    The logit of a place is the scaled product of query and key plus a learned function of the unscaled query; places
    outside the map get no weight. The published names are short-term attention and `MultiheadLocalAttention`.

    Args:
        query: float [B or 1, N, L, d].
        entry: keys and values of the remembered frame, L tokens.
        position: relative logits (and values, added to the entry's only value).
        size: (h, w) with h * w = L.

    Returns:
        For each of the entry's values, float [B or 1, N, L, e].
    """
    key, *values = entry
    tiling, inside = _tiling(*size, position.radius, query.device)
    tiles = tiling.queries(query)
    over_patch = (tiles * query.shape[-1] ** -0.5) @ tiling.patches(key).mT
    logits = tiling.windows(over_patch).flatten(-2).flatten(-3, -2) + position.logits(tiles)
    weights = logits.masked_fill_(~inside, -torch.inf).softmax(dim=-1)

    spread = torch.zeros_like(over_patch, dtype=weights.dtype)
    window = tiling.windows(spread)
    window.copy_(weights.reshape(window.shape))
    found = [tiling.restore(_weigh(spread.to(value.dtype), tiling.patches(value))) for value in values]
    if position.value is not None:
        learned = torch.einsum("bntqp,ndp->bntqd", weights.to(query.dtype), position.value.to(query.dtype))
        found[0] = found[0] + tiling.restore(learned)
    return found
