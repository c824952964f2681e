"""The mask branch of ReferFormer and MUTR: cross-modal feature pyramid, mask controller and dynamic mask head.

The pyramid makes mask features that depend on the words. Source: `models/segmentation.py` of both (equal). It goes from
the coarsest level to the finest. At every level all frames of the clip attend to each other on a coarse grid, then the
pixels attend to the words, then the coarser level is added.

Only the attention between frames needs all frames at once. Everything else works on a few pairs of a frame and an
expression at a time, and the finest level, by far the largest, is yielded in pieces. Its attention between frames does
not depend on the text and is computed once per video (`prepare_fine`).

In inference, masks are computed for the selected queries only, while the mask features of a few frames exist; those of
a whole video never exist at once. Training keeps them for its short clips, because the queries of every decoder layer
use them.

Shapes: n pairs of a frame and an expression, or B*T frames; C channels, L words.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from program_kit.torch.memory import rows_at_once
from torch import Tensor, nn
from torch.nn import functional

from rvos_layers.blocks.attention import Attention, AttentionLayer, FeedForward, attention_mask
from rvos_layers.blocks.dynamic_masks import DynamicMaskHead
from rvos_layers.blocks.heads import QueryOutputs, mask_controller
from rvos_layers.chunks import cat_chunks, chunk_slices, map_chunks
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import FrameTextPairs, PixelGrid, VideoFeatures
from rvos_layers.grounded.config import GroundedConfig

NUM_HEADS = 8
NORM_GROUPS = 8
REDUCTIONS = (8, 4, 2, 1)  # of the grid on which frames attend to each other, for strides 4, 8, 16 and 32


class FrameAttention(nn.Module):
    """Self-attention over all cells of all frames of a clip, on a coarse grid, with residual and norm."""

    def __init__(self, hidden_size: int, reduction: int, dropout: float) -> None:
        super().__init__()
        self.reduction = reduction
        self.attention = Attention(hidden_size, NUM_HEADS, dropout)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, x: Tensor, position: Tensor, padding_mask: Tensor | None, frames: int) -> Tensor:
        """Map [n, C, h, w] to the same shape (to the same memory when gradients are off).

        Args:
            position: [1 or n, C, h, w].
            padding_mask: bool[n, h, w] or None.
            frames: T; every T consecutive maps are a clip.
        """
        height, width = x.shape[2:]
        coarse = (height // self.reduction, width // self.reduction)
        values = self._clip_tokens(functional.interpolate(x, coarse), frames)
        positions = functional.interpolate(position, coarse).expand(len(x), -1, -1, -1)
        queries = values + self._clip_tokens(positions, frames)
        mask = (
            None
            if padding_mask is None
            else functional.interpolate(padding_mask[:, None].float(), coarse).bool().reshape(len(values), -1)
        )
        attended = self.attention(queries, queries, values, attention_mask(mask))
        attended = attended.reshape(len(x), *coarse, -1).permute(0, 3, 1, 2)
        chunks = chunk_slices(len(x), rows_at_once(x.device, x[0].nbytes))
        if torch.is_grad_enabled():
            return torch.cat([self._add_upsampled(x[chunk], attended[chunk]) for chunk in chunks])
        for chunk in chunks:
            x[chunk] = self._add_upsampled(x[chunk], attended[chunk])
        return x

    @staticmethod
    def _clip_tokens(x: Tensor, frames: int) -> Tensor:
        """[n, C, h, w] to tokens [n/T, T*h*w, C]."""
        return x.permute(0, 2, 3, 1).reshape(len(x) // frames, -1, x.shape[1])

    def _add_upsampled(self, x: Tensor, attended: Tensor) -> Tensor:
        upsampled = functional.interpolate(attended, x.shape[2:], mode="bilinear", align_corners=False)
        return self.norm((x + self.dropout(upsampled)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class WordAttention(nn.Module):
    """Attention of every cell to the words, then feed-forward."""

    def __init__(self, hidden_size: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = AttentionLayer(hidden_size, NUM_HEADS, dropout)
        self.feedforward = FeedForward(hidden_size, feedforward_dim, dropout)

    def forward(self, x: Tensor, position: Tensor, text: TextFeatures) -> Tensor:
        """Map [n, C, h, w] to the same shape; `position` [1 or n, C, h, w], `text` of n expressions."""
        cells = self.attention(
            x.flatten(2).transpose(1, 2),
            text.words,
            position=position.flatten(2).transpose(1, 2),
            memory_position=text.word_positions,
            mask=attention_mask(text.padding_mask),
        )
        return self.feedforward(cells).transpose(1, 2).unflatten(2, x.shape[2:])


class CrossModalFPN(nn.Module):
    """Stride-4 mask features from the stride-4 backbone map, the encoder's memory and the words.

    Args:
        fine_channels: width of the stride-4 backbone map.
        hidden_size: C.
        mask_channels: width of the mask features.
        feedforward_dim: inner width of the feed-forward part after the attention to words.
        dropout: probability, in training.
    """

    def __init__(
        self, fine_channels: int, hidden_size: int, mask_channels: int, feedforward_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.feedforward_dim = feedforward_dim
        widths = (fine_channels, hidden_size, hidden_size, hidden_size)  # fine to coarse, as all lists below
        self.adapters = nn.ModuleList(_normed(nn.Conv2d(width, hidden_size, 1, bias=False)) for width in widths)
        self.talks = nn.ModuleList(FrameAttention(hidden_size, reduction, dropout) for reduction in REDUCTIONS)
        self.readings = nn.ModuleList(WordAttention(hidden_size, feedforward_dim, dropout) for _ in widths)
        self.smoothings = nn.ModuleList(
            _normed(nn.Conv2d(hidden_size, hidden_size, 3, padding=1, bias=False)).append(nn.ReLU()) for _ in widths
        )
        self.output = nn.Conv2d(hidden_size, mask_channels, 3, padding=1)
        self._initialise()

    def prepare_fine(self, fine: Tensor, grid: PixelGrid, frames: int) -> Tensor:
        """Text-independent half of the finest level: backbone map [B*T, C', h, w] to [B*T, C, h, w]."""
        return self._attend_frames(0, fine, grid.position, grid.padding_mask, frames)

    def forward(
        self, video: VideoFeatures, text: TextFeatures, memory: list[Tensor]
    ) -> Iterator[tuple[FrameTextPairs, Tensor]]:
        """Yield a few pairs after the other, with their maps [n, C, h, w]; `output` makes mask features of these.

        Args:
            video: with `fine` from `prepare_fine`.
            text: E expressions.
            memory: encoder output [E*T, C, h, w] for strides 8, 16 and 32.
        """
        pairs = FrameTextPairs.all(video, text)
        coarser = None
        for level in (3, 2, 1):
            grid = video.grids[level]
            padding = None if grid.padding_mask is None else pairs.of_frames(grid.padding_mask)
            maps = self._attend_frames(level, memory[level - 1], pairs.of_frames(grid.position), padding, video.frames)
            parts = (part for _, part in self._attend_words(level, maps, coarser, pairs, video, text))
            coarser = cat_chunks(parts, len(pairs.indices))
        yield from self._attend_words(0, video.fine, coarser, pairs, video, text)

    def _attend_frames(
        self, level: int, x: Tensor, position: Tensor, padding_mask: Tensor | None, frames: int
    ) -> Tensor:
        adapted = map_chunks(self.adapters[level], x, self._maps_at_once(x))
        return self.talks[level](adapted, position, padding_mask, frames)

    def _attend_words(
        self,
        level: int,
        maps: Tensor,
        coarser: Tensor | None,
        pairs: FrameTextPairs,
        video: VideoFeatures,
        text: TextFeatures,
    ) -> Iterator[tuple[FrameTextPairs, Tensor]]:
        for chunk in pairs.split(self._maps_at_once(maps)):
            position = chunk.of_frames(video.grids[level].position)
            x = self.readings[level](chunk.of_frames(maps), position, chunk.of_text(text))
            if coarser is not None:
                x = x + functional.interpolate(chunk.of_frames(coarser), x.shape[2:])
            yield chunk, self.smoothings[level](x)

    def _maps_at_once(self, maps: Tensor) -> int:
        """How many maps of this size to work on together; the inner layer of the feed-forward part is the largest."""
        return rows_at_once(maps.device, maps[0, 0].nbytes * self.feedforward_dim)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
        assert self.output.bias is not None
        nn.init.zeros_(self.output.bias)
        for module in (*self.talks, *self.readings):
            for parameter in module.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.GroupNorm(NORM_GROUPS, convolution.out_channels))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundedOutputs(QueryOutputs):
    """Scored queries, and what their masks need of the encoder.

    Attributes:
        memory: encoder output [E*T, C, h, w] for strides 8, 16 and 32.
    """

    memory: list[Tensor]


class MaskBranch(nn.Module):
    """Cross-modal feature pyramid, mask controller and dynamic mask head."""

    def __init__(self, config: GroundedConfig) -> None:
        super().__init__()
        hidden_size = config.transformer.hidden_size
        self.decoder = CrossModalFPN(
            config.backbone.stage_channels[0],
            hidden_size,
            config.mask_channels,
            config.transformer.feedforward_dim,
            config.transformer.dropout,
        )
        self.head = DynamicMaskHead(
            feature_channels=config.mask_channels,
            hidden_channels=config.dynamic_channels,
            layers=config.dynamic_layers,
        )
        self.controller = mask_controller(hidden_size, self.head.parameter_count)

    def forward(self, video: VideoFeatures, text: TextFeatures, outputs: GroundedOutputs) -> Tensor:
        """Compute the masks of all queries in `outputs`.

        Returns:
            mask logits [E, T, Q, h, w] at stride 4.
        """
        states, centres = outputs.mask_inputs(video.sizes)
        masks = []
        for pairs, maps in self.decoder(video, text, outputs.memory):
            parameters = self.controller(states[pairs.indices])
            masks.append(self.head(maps, parameters, centres[pairs.indices], feature_conv=self.decoder.output))
        return torch.cat(masks).unflatten(0, outputs.states.shape[:2])

    def features(self, video: VideoFeatures, text: TextFeatures, memory: list[Tensor]) -> Tensor:
        """Mask features [E*T, F, h, w] of all frames at once; training uses them several times."""
        return torch.cat([self.decoder.output(maps) for _, maps in self.decoder(video, text, memory)])

    def masks_from_features(self, features: Tensor, video: VideoFeatures, outputs: QueryOutputs) -> Tensor:
        """As `forward`, from mask features that exist already."""
        states, centres = outputs.mask_inputs(video.sizes)
        return self.head(features, self.controller(states), centres).unflatten(0, outputs.states.shape[:2])
