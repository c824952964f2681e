"""DeAOT's propagation: gated layers with separate branches for appearance and identity.

Yang, Yang, "Decoupling Features in Hierarchical Propagation for Video Object Segmentation", NeurIPS 2022, section 4;
`networks/layers/transformer.py` and `attention.py` of the published code. Shape letters as in `attention`, C channels,
E = expansion * C.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from torch import Tensor, nn

from aot_deaot.attention import Entry, RelativePosition, attend, attend_each, attend_nearby


class Branches(NamedTuple):
    """The two residual streams, float [B, L, C]; before the first layer `identity` is zero, float [1, 1, 1]."""

    visual: Tensor
    identity: Tensor


class LayerFeatures(NamedTuple):
    """Features of the current frame in one layer, before it reads any memory; B = 1 in the first layer.

    Attributes:
        branches: the residual streams.
        query: float [B, 1, L, C/2], the frame's queries and, once stored, its keys.
        value: float [B, 1, L, E], its visual values.
        gate: float [B, L, E] in the first layer, which gates the visual half only, else [B, L, 2 E].
        source: float [B, L, C], the normalised identity stream; None in the first layer.
    """

    branches: Branches
    query: Tensor
    value: Tensor
    gate: Tensor
    source: Tensor | None


class GatedOutput(nn.Module):
    """Gate, depth-wise 5 x 5 convolution and projection of aggregated values [B, L, 2 E] to [B, L, 2 C]."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.blend = nn.Conv2d(width, width, kernel_size=5, padding=2, groups=width, bias=False)
        self.projection = nn.Linear(width, dim)

    def forward(self, values: Sequence[Tensor], gate: Tensor, size: tuple[int, int]) -> Tensor:
        """Values [B, 1, L, ...] with 2 E channels together; a gate of fewer channels leaves the last ones unchanged."""
        sets = max(value.shape[0] for value in values)
        found = torch.cat([value.squeeze(1).expand(sets, -1, -1) for value in values], dim=-1)
        gated = torch.cat([found[..., : gate.shape[-1]] * gate, found[..., gate.shape[-1] :]], dim=-1)
        grid = self.blend(rearrange(gated, "b (h w) c -> b c h w", h=size[0]))
        return self.projection(rearrange(grid, "b c h w -> b (h w) c"))


class GatedSelfPropagation(nn.Module):
    """A frame's tokens among themselves, both branches at once."""

    def __init__(self, hidden_size: int, expansion: int):
        super().__init__()
        width = expansion * hidden_size
        self.query = nn.Linear(2 * hidden_size, hidden_size // 2)
        self.values = nn.ModuleList(nn.Linear(hidden_size, width) for _ in Branches._fields)
        self.gates = nn.ModuleList(nn.Linear(hidden_size, width) for _ in Branches._fields)
        self.output = GatedOutput(2 * width, 2 * hidden_size)

    def forward(self, visual: Tensor, identity: Tensor, size: tuple[int, int]) -> Tensor:
        """Normalised branches [B, L, C] to [B, L, 2 C]."""
        both = visual, identity
        query = self.query(torch.cat(both, dim=-1))[:, None]
        value, gate = (
            F.silu(torch.cat([linear(branch) for linear, branch in zip(linears, both, strict=True)], dim=-1))
            for linears in (self.values, self.gates)
        )
        return self.output(attend(query, (query, value[:, None])), gate, size)


class GatedPropagationLayer(nn.Module):
    """Propagation from the long- and short-term memory, then within the frame."""

    def __init__(self, hidden_size: int, expansion: int, radius: int, *, first: bool):
        super().__init__()
        width = expansion * hidden_size
        self.first = first
        self.norm1, self.norm2, self.identity_norm2 = (nn.LayerNorm(hidden_size) for _ in range(3))
        self.query_value = nn.Linear(hidden_size, hidden_size // 2 + width)
        self.gate = nn.Linear(hidden_size, width)
        self.identity_value = nn.Linear(hidden_size if first else 2 * hidden_size, width)
        if not first:
            self.identity_norm1 = nn.LayerNorm(hidden_size)
            self.identity_gate = nn.Linear(hidden_size, width)
        self.relative = RelativePosition(1, hidden_size // 2, radius, values=False)
        self.long_output = GatedOutput(2 * width, 2 * hidden_size)
        self.short_output = GatedOutput(2 * width, 2 * hidden_size)
        self.self_propagation = GatedSelfPropagation(hidden_size, expansion)

    def encode(self, state: Branches, position: Tensor) -> LayerFeatures:
        """The features before any memory is read; the first layer has no identities yet. Positions are not used."""
        visual = self.norm1(state.visual)
        query_value = self.query_value(visual)[:, None]
        width = self.gate.out_features
        query, value = query_value.split([query_value.shape[-1] - width, width], dim=-1)
        gate, source = self.gate(visual), None
        if not self.first:
            source = self.identity_norm1(state.identity)
            gate = torch.cat([gate, self.identity_gate(source)], dim=-1)
        return LayerFeatures(state, query, F.silu(value), F.silu(gate), source)

    def memorize(self, features: LayerFeatures, identity: Tensor) -> Entry:
        """The memory of a frame whose identities [B, L, C] are known: keys, visual values, identity values."""
        known = identity if features.source is None else torch.cat([features.source, identity], dim=-1)
        return features.query, features.value, F.silu(self.identity_value(known))[:, None]

    def read_memory(
        self, features: LayerFeatures, long: Sequence[Entry], short: Entry, size: tuple[int, int]
    ) -> Branches:
        """Complete the layer with the memories of all object sets."""
        change = self.long_output(attend_each(features.query, long), features.gate, size)
        change = change + self.short_output(
            attend_nearby(features.query, short, self.relative, size), features.gate, size
        )
        visual, identity = change.chunk(2, dim=-1)
        visual, identity = features.branches.visual + visual, features.branches.identity + identity
        change = self.self_propagation(self.norm2(visual), self.identity_norm2(identity), size)
        return Branches(*(a + b for a, b in zip((visual, identity), change.chunk(2, dim=-1), strict=True)))


class GatedReadout(nn.Module):
    """The last layer's branches, normalised for the decoder; the two groups of the norm are the two branches."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.norm = nn.GroupNorm(2, 2 * hidden_size)

    def forward(self, states: Sequence[Branches]) -> list[Tensor]:
        """Layer outputs to one decoder input [B, L, 2 C]."""
        last = torch.cat(states[-1], dim=-1)
        return [self.norm(last.mT).mT]
