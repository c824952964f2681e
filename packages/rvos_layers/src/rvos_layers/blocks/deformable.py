"""Deformable encoder and decoder with box refinement.

Source: `models/deformable_transformer.py` of ReferFormer, MUTR and SOC (equal in all three), after Deformable-DETR (Zhu
et al., 2021). Everything here treats images independently, so a caller may run any number of them at once.

Shapes: N images (frames times expressions), L levels, S tokens of all levels together (row-major, level after level),
Q queries, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from msda_ops import MSDeformAttn
from program_kit.torch.checkpoint.table import Rename, Rule
from torch import Tensor, nn

from rvos_layers.blocks.attention import AttentionLayer, FeedForward
from rvos_layers.blocks.config import DeformableConfig
from rvos_layers.blocks.heads import at_least_float32, refine

Shapes = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class FlatPyramid:
    """Feature levels as one token sequence per image.

    Attributes:
        tokens: [N, S, C].
        positions: [N or 1, S, C] position encodings plus level embeddings.
        shapes: (height, width) of each level.
        valid_ratios: [N or 1, L, 2] fractions of each level's width and height that are not padding.
        padding_mask: bool[N, S], True where padded; None when nothing is.
    """

    tokens: Tensor
    positions: Tensor
    shapes: Shapes
    valid_ratios: Tensor
    padding_mask: Tensor | None

    def maps(self, tokens: Tensor) -> list[Tensor]:
        """Cut tokens [N, S, C] into maps [N, C, h, w], one for each level."""
        lengths = [height * width for height, width in self.shapes]
        levels = tokens.transpose(1, 2).split(lengths, dim=2)
        return [level.unflatten(2, shape) for level, shape in zip(levels, self.shapes, strict=True)]


@dataclass(frozen=True, slots=True)
class DecodedQueries:
    """Output of the transformer.

    Attributes:
        states: [layers, N, Q, C], the queries after each decoder layer.
        initial_reference: [N, Q, 2], centres that the first layer starts from.
        references: [layers, N, Q, 4], boxes after each layer, detached.
        memory: encoder output as maps [N, C, h, w], one for each level.
    """

    states: Tensor
    initial_reference: Tensor
    references: Tensor
    memory: list[Tensor]

    def reference_before(self, layer: int) -> Tensor:
        """Input reference of a layer; the output of the layer's box head is added to it."""
        return self.references[layer - 1] if layer else self.initial_reference

    @classmethod
    def cat(cls, parts: Sequence["DecodedQueries"]) -> Self:
        """Concatenate the results of consecutive chunks of images."""
        return cls(
            torch.cat([part.states for part in parts], dim=1),
            torch.cat([part.initial_reference for part in parts]),
            torch.cat([part.references for part in parts], dim=1),
            [torch.cat(level) for level in zip(*(part.memory for part in parts), strict=True)],
        )


class EncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then feed-forward; post-norm."""

    def __init__(self, config: DeformableConfig) -> None:
        super().__init__()
        self.attention = MSDeformAttn(config.hidden_size, config.levels, config.num_heads, config.encoder_points)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.feedforward = FeedForward(config.hidden_size, config.feedforward_dim, config.dropout)

    def forward(self, x: Tensor, pyramid: FlatPyramid, reference_points: Tensor) -> Tensor:
        """Map tokens [N, S, C] to tokens; each attends around its own point of `reference_points` [N, S, L, 2]."""
        attended = self.attention(
            x + pyramid.positions, reference_points, x, pyramid.shapes, input_padding_mask=pyramid.padding_mask
        )
        return self.feedforward(self.norm(x + self.dropout(attended)))


class DecoderLayer(nn.Module):
    """Self-attention among an image's queries, deformable attention to its tokens, feed-forward; post-norm."""

    def __init__(self, config: DeformableConfig) -> None:
        super().__init__()
        self.self_attention = AttentionLayer(config.hidden_size, config.num_heads, config.dropout)
        self.cross_attention = MSDeformAttn(config.hidden_size, config.levels, config.num_heads, config.decoder_points)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.feedforward = FeedForward(config.hidden_size, config.feedforward_dim, config.dropout)

    def forward(self, x: Tensor, position: Tensor, reference: Tensor, memory: Tensor, pyramid: FlatPyramid) -> Tensor:
        """Map queries [N, Q, C] to queries; `reference` [N, Q, L, 2 or 4] in the coordinates of each level."""
        x = self.self_attention(x, position=position)
        attended = self.cross_attention(
            x + position, reference, memory, pyramid.shapes, input_padding_mask=pyramid.padding_mask
        )
        return self.feedforward(self.norm(x + self.dropout(attended)))


class DeformableTransformer(nn.Module):
    """Encoder and decoder over four feature levels."""

    def __init__(self, config: DeformableConfig) -> None:
        super().__init__()
        self.feedforward_dim = config.feedforward_dim
        self.level_embed = nn.Parameter(torch.empty(config.levels, config.hidden_size))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.reference_points = nn.Linear(config.hidden_size, 2)
        self._initialise()

    def forward(
        self,
        levels: Sequence[Tensor],
        positions: Sequence[Tensor],
        padding_masks: Sequence[Tensor] | None,
        *,
        query_position: Tensor,
        query_init: Tensor | None,
        box_heads: Sequence[nn.Module],
    ) -> DecodedQueries:
        """Encode and decode.

        Args:
            levels: [N, C, h, w] each.
            positions: position encodings, [N or 1, C, h, w] each.
            padding_masks: bool[N, h, w] each, True where padded; None when nothing is.
            query_position: [Q, C], the same for every image.
            query_init: initial queries [N, Q, C]; None for zeros.
            box_heads: one for each decoder layer, [..., C] to [..., 4]; they refine the references.
        """
        pyramid = self.flatten(levels, positions, padding_masks)
        memory = self.encode(pyramid)
        return self.decode(pyramid, memory, query_position, query_init, box_heads)

    def flatten(
        self, levels: Sequence[Tensor], positions: Sequence[Tensor], padding_masks: Sequence[Tensor] | None
    ) -> FlatPyramid:
        """Concatenate levels to token sequences; arguments as in `forward`."""
        shapes = tuple((level.shape[2], level.shape[3]) for level in levels)
        encodings = [
            encoding.flatten(2).transpose(1, 2) + embedding
            for encoding, embedding in zip(positions, self.level_embed, strict=True)
        ]
        if padding_masks is None:
            mask, ratios = None, at_least_float32(levels[0].new_ones(1, len(shapes), 2))
        else:
            mask = torch.cat([mask.flatten(1) for mask in padding_masks], dim=1)
            ratios = torch.stack([valid_ratio(mask) for mask in padding_masks], dim=1)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        return FlatPyramid(tokens, torch.cat(encodings, dim=1), shapes, ratios, mask)

    def encode(self, pyramid: FlatPyramid) -> Tensor:
        """Encoder output, tokens [N, S, C]."""
        points = encoder_reference_points(pyramid.shapes, pyramid.valid_ratios).expand(len(pyramid.tokens), -1, -1, -1)
        x = pyramid.tokens
        for layer in self.encoder:
            x = layer(x, pyramid, points)
        return x

    def decode(
        self,
        pyramid: FlatPyramid,
        memory: Tensor,
        query_position: Tensor,
        query_init: Tensor | None,
        box_heads: Sequence[nn.Module],
    ) -> DecodedQueries:
        """Decode queries from encoder output `memory` [N, S, C]; other arguments as in `forward`."""
        x = memory.new_zeros(len(memory), *query_position.shape) if query_init is None else query_init
        initial = at_least_float32(self.reference_points(query_position)).sigmoid().expand(len(memory), -1, -1)
        reference, states, references = initial, [], []
        for layer, box_head in zip(self.decoder, box_heads, strict=True):
            ratios = pyramid.valid_ratios.repeat(1, 1, reference.shape[-1] // 2)  # (x, y) or (x, y, x, y)
            x = layer(x, query_position, reference[:, :, None] * ratios[:, None], memory, pyramid)
            reference = refine(reference, box_head(x)).detach()
            states.append(x)
            references.append(reference)
        return DecodedQueries(torch.stack(states), initial, torch.stack(references), pyramid.maps(memory))

    def _initialise(self) -> None:
        nn.init.normal_(self.level_embed)
        for name, parameter in self.named_parameters():
            by_msda = "sampling_offsets" in name or "attention_weights" in name  # MSDeformAttn initialises these
            if parameter.ndim > 1 and name != "level_embed" and not by_msda:
                nn.init.xavier_uniform_(parameter)
        nn.init.zeros_(self.reference_points.bias)


def encoder_reference_points(shapes: Shapes, valid_ratios: Tensor) -> Tensor:
    """Position of every token in every level's coordinates.

    A position is a fraction of the unpadded image; times a level's valid ratio it is a fraction of its padded map.

    Args:
        shapes: (height, width) of the levels.
        valid_ratios: [N, L, 2].

    Returns:
        [N, S, L, 2] as (x, y).
    """
    points = []
    for level, (height, width) in enumerate(shapes):
        ratio = valid_ratios[:, level, None]
        y = (torch.arange(height, device=ratio.device, dtype=ratio.dtype) + 0.5) / (ratio[..., 1] * height)
        x = (torch.arange(width, device=ratio.device, dtype=ratio.dtype) + 0.5) / (ratio[..., 0] * width)
        grid = torch.stack((x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)), dim=-1)
        points.append(grid.flatten(1, 2))
    return torch.cat(points, dim=1)[:, :, None] * valid_ratios[:, None]


def valid_ratio(padding_mask: Tensor) -> Tensor:
    """Fractions of width and height that are not padding, float32[N, 2] as (x, y), of bool[N, h, w]."""
    valid = ~padding_mask
    height, width = padding_mask.shape[1:]
    return torch.stack((valid[:, 0].sum(1) / width, valid[:, :, 0].sum(1) / height), dim=-1)


def deformable_rules(published: str, ours: str) -> list[Rule]:
    """Rules for the deformable transformer; its decoder uses norm2, norm1 and norm3 in this order."""
    encoder, decoder = f"{published}.encoder.layers.{{i}}", f"{published}.decoder.layers.{{i}}"
    into_encoder, into_decoder = f"{ours}.encoder.{{i}}", f"{ours}.decoder.{{i}}"
    return [
        Rename(f"{published}.level_embed", f"{ours}.level_embed"),
        Rename(f"{published}.reference_points.{{*}}", f"{ours}.reference_points.{{*}}"),
        Rename(f"{encoder}.self_attn.{{*}}", f"{into_encoder}.attention.{{*}}"),
        Rename(f"{encoder}.norm1.{{*}}", f"{into_encoder}.norm.{{*}}"),
        Rename(f"{encoder}.norm2.{{*}}", f"{into_encoder}.feedforward.norm.{{*}}"),
        Rename(f"{encoder}.{{linear}}.{{*}}", f"{into_encoder}.feedforward.{{linear}}.{{*}}"),
        Rename(f"{decoder}.self_attn.{{*}}", f"{into_decoder}.self_attention.attention.{{*}}"),
        Rename(f"{decoder}.norm2.{{*}}", f"{into_decoder}.self_attention.norm.{{*}}"),
        Rename(f"{decoder}.cross_attn.{{*}}", f"{into_decoder}.cross_attention.{{*}}"),
        Rename(f"{decoder}.norm1.{{*}}", f"{into_decoder}.norm.{{*}}"),
        Rename(f"{decoder}.norm3.{{*}}", f"{into_decoder}.feedforward.norm.{{*}}"),
        Rename(f"{decoder}.{{linear}}.{{*}}", f"{into_decoder}.feedforward.{{linear}}.{{*}}"),
    ]
