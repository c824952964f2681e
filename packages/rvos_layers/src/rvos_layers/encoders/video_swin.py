"""Video-Swin backbone: torchvision's `SwinTransformer3d`, with memory that hardly grows with the video's length.

The published models take the four stage outputs before patch merging and without an output norm. torchvision's blocks
reproduce them bit for bit, but compute all windows of all frames at once; a minute of video would need tens of
gigabytes. In evaluation the blocks here work on one window depth of frames (a slab) after the other and update the
feature map in place. That is safe because every token belongs to exactly one window. They attend within a bounded
number of windows at once, with `scaled_dot_product_attention`. The result is torchvision's up to float rounding (1e-6).

Shapes: B clips, T frames, h x w map, C channels, N tokens in a window.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from einops import rearrange
from program_kit.torch.checkpoint.table import Constant, Rename, Rule
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d, SwinTransformer3d

from rvos_layers.chunks import chunk_slices
from rvos_layers.encoders.config import VideoSwinConfig

MASKED_SCORE = -100.0  # added to the attention score of tokens that must not see each other, as published
SCORE_BYTES = 64 * 2**20  # of position biases and masks; bounds the number of windows at once
FRAMES_AT_ONCE = 8  # in patch embedding and merging, which treat frames independently


class VideoSwin(nn.Module):
    """Frames to feature maps at strides 4, 8, 16 and 32 (for patch 4 and four stages)."""

    def __init__(self, config: VideoSwinConfig) -> None:
        super().__init__()
        swin = SwinTransformer3d(
            patch_size=list(config.patch),
            embed_dim=config.hidden_size,
            depths=list(config.depths),
            num_heads=list(config.num_heads),
            window_size=list(config.window),
            mlp_ratio=config.mlp_ratio,
            stochastic_depth_prob=config.stochastic_depth,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
            block=SlabBlock,
        )
        self.patch_embed = swin.patch_embed
        self.stages = nn.ModuleList(swin.features[0::2])
        self.merges = nn.ModuleList(swin.features[1::2])  # torchvision's own norm and head are not used

    def forward(self, frames: Tensor) -> list[Tensor]:
        """All stage outputs at once; see `iter_stages`."""
        return list(self.iter_stages(frames))

    def iter_stages(self, frames: Tensor) -> Iterator[Tensor]:
        """Yield the output of one stage after the other, so that a caller can drop it before the next one is computed.

        Args:
            frames: [B, T, 3, H, W], normalised. Sides that are not a multiple of the patch size are padded with zeros.

        Yields:
            [B, T, C, h, w] with h = ceil(H/4), halved and rounded up at each later stage; a
            view of channels-last memory.
        """
        x = _map_frame_chunks(lambda chunk: self.patch_embed(chunk.transpose(1, 2)), frames)
        for index, stage in enumerate(self.stages):
            if index:
                x = _map_frame_chunks(self.merges[index - 1], x)
            x = stage(x)
            yield x.permute(0, 1, 4, 2, 3)


def _map_frame_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function to a few frames of all clips at once, [B, T, ...] to [B, T, ...]; frames are independent."""
    return torch.cat([function(x[:, chunk]) for chunk in chunk_slices(x.shape[1], FRAMES_AT_ONCE)], dim=1)


class SlabBlock(SwinTransformerBlock):
    """torchvision's block. Without gradients it updates its input in place, one slab of frames after the other."""

    attn: ShiftedWindowAttention3d

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The window size implies it, so it is not saved.
        index = self.attn.get_buffer("relative_position_index")
        self.attn.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, T, h, w, C] to the same shape (to the same memory when gradients are off)."""
        if self.training or torch.is_grad_enabled():
            return super().forward(x)
        layout = WindowLayout.of(x.shape[1:4], self.attn)
        bias = self.attn.get_relative_position_bias(list(layout.window))  # [1, heads, N, N]
        for slab in layout.slabs():
            tokens = x[:, slab.frames]
            tokens += self._attend(self.norm1(tokens), slab, bias)
            tokens += self.mlp(self.norm2(tokens))
            x[:, slab.frames] = tokens
        return x

    def _attend(self, x: Tensor, slab: "Slab", bias: Tensor) -> Tensor:
        windows, regions = slab.to_windows(x)
        attended = torch.empty_like(windows)
        for chunk, mask in _window_chunks(len(windows), regions, bias):
            attended[chunk] = self._window_attention(windows[chunk], mask)
        return slab.from_windows(attended, len(x))

    def _window_attention(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = rearrange(self.attn.qkv(x), "w n (k m c) -> k w m n c", k=3, m=self.attn.num_heads)
        heads = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.attn.proj(rearrange(heads, "w m n c -> w n (m c)"))


def _window_chunks(count: int, regions: Tensor | None, bias: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut windows into chunks, each with what is added to its attention scores.

    Only border windows hold tokens from several regions, which must not see each other. All other windows need the
    position bias alone.

    Args:
        count: number W of windows.
        regions: [W, N] region numbers of their tokens; None when windows are not shifted.
        bias: [1, heads, N, N].

    Yields:
        indices [w], and scores to add [w or 1, heads, N, N].
    """
    if regions is None:
        regions = torch.zeros(count, 1, device=bias.device)
    mixed = (regions != regions[:, :1]).any(1)
    size = max(1, SCORE_BYTES // (bias.numel() * bias.element_size()))
    plain, mixed = (~mixed).nonzero().squeeze(1), mixed.nonzero().squeeze(1)
    for chunk in chunk_slices(len(plain), size):
        yield plain[chunk], bias
    for chunk in chunk_slices(len(mixed), size):
        region = regions[mixed[chunk]]
        differ = region[:, None, :, None] != region[:, None, None, :]
        yield mixed[chunk], bias + differ * MASKED_SCORE


@dataclass(frozen=True, slots=True)
class WindowLayout:
    """How a feature map is divided into (shifted) windows.

    Attributes:
        size: (T, h, w) of the map.
        window: window size; the whole axis where the axis is not longer than the configured window.
        shift: cyclic shift; 0 along such an axis.
    """

    size: tuple[int, int, int]
    window: tuple[int, int, int]
    shift: tuple[int, int, int]

    @classmethod
    def of(cls, size: tuple[int, ...], attention: ShiftedWindowAttention3d) -> "WindowLayout":
        """The layout that `attention` uses on a map of this size."""
        axes = list(zip(size, attention.window_size, attention.shift_size, strict=True))
        window = tuple(min(length, window) for length, window, _ in axes)
        shift = tuple(shift if length > window else 0 for length, window, shift in axes)
        return cls(tuple(size), window, shift)  # pyright: ignore[reportArgumentType]  three axes each

    @property
    def padded(self) -> tuple[int, ...]:
        """Size of the map after padding every axis to a multiple of its window."""
        return tuple(-(-length // window) * window for length, window in zip(self.size, self.window, strict=True))

    def slabs(self) -> "Iterator[Slab]":
        """One slab for every window depth; together they hold every frame once."""
        for start in range(0, self.padded[0], self.window[0]):
            shifted = range(start, start + self.window[0])  # positions after the shift
            sources = [(position + self.shift[0]) % self.padded[0] for position in shifted]
            real = [(index, frame) for index, frame in enumerate(sources) if frame < self.size[0]]
            if real:
                indices, frames = zip(*real, strict=True)
                yield Slab(self, start, list(indices), list(frames))

    def regions_along(self, axis: int, device: torch.device) -> Tensor:
        """Region number of each padded position after the shift; positions of one region were neighbours before it."""
        length, window, shift = self.padded[axis], self.window[axis], self.shift[axis]
        position = torch.arange(length, device=device)
        if not shift:
            return torch.zeros_like(position)
        return (position >= length - window).long() + (position >= length - shift).long()


@dataclass(frozen=True, slots=True)
class Slab:
    """The frames of one window depth.

    Attributes:
        layout: windows of the whole map.
        start: first position along shifted, padded time.
        indices: positions of the frames in the slab; the other positions are padding.
        frames: the frames.
    """

    layout: WindowLayout
    start: int
    indices: list[int]
    frames: list[int]

    def to_windows(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Divide the slab's frames [B, frames, h, w, C] into windows.

        Returns:
            windows [B*W, N, C], and region numbers [B*W, N] of their tokens (None when windows are not shifted).
        """
        depth, height, width = self.layout.window[0], *self.layout.padded[1:]
        _, rows, columns = self.layout.size
        padded = pad(x, (0, 0, 0, width - columns, 0, height - rows))
        if len(self.indices) < depth:
            slab = x.new_zeros(len(x), depth, *padded.shape[2:])
            slab[:, self.indices] = padded
        else:
            slab = padded
        _, down, right = self.layout.shift
        if down or right:
            slab = slab.roll((-down, -right), (2, 3))
        return self._partition(slab), self._regions(len(x), x.device)

    def from_windows(self, windows: Tensor, clips: int) -> Tensor:
        """Undo `to_windows`: windows [B*W, N, C] to [B, frames, h, w, C]."""
        depth, rows, columns = self.layout.window
        slab = rearrange(
            windows,
            "(b i j) (t r c) d -> b t (i r) (j c) d",
            b=clips,
            j=self.layout.padded[2] // columns,
            t=depth,
            r=rows,
            c=columns,
        )
        _, down, right = self.layout.shift
        if down or right:
            slab = slab.roll((down, right), (2, 3))
        _, height, width = self.layout.size
        return slab[:, self.indices, :height, :width]

    def _partition(self, slab: Tensor) -> Tensor:
        _, rows, columns = self.layout.window
        return rearrange(slab, "b t (i r) (j c) d -> (b i j) (t r c) d", r=rows, c=columns)

    def _regions(self, clips: int, device: torch.device) -> Tensor | None:
        if not any(self.layout.shift):
            return None
        time, row, column = (self.layout.regions_along(axis, device) for axis in range(3))
        time = time[self.start : self.start + self.layout.window[0]]
        numbers = 9 * time[:, None, None] + 3 * row[:, None] + column
        return self._partition(numbers[None, ..., None].expand(clips, -1, -1, -1, 1)).squeeze(-1)


def video_swin_rules(published: str, ours: str) -> list[Rule]:
    """Rules for the backbone under the two prefixes."""
    block = f"{published}.layers.{{i}}.blocks.{{j}}"
    return [
        Rename(f"{published}.patch_embed.{{*}}", f"{ours}.patch_embed.{{*}}"),
        Rename(f"{block}.mlp.fc1.{{*}}", f"{ours}.stages.{{i}}.{{j}}.mlp.0.{{*}}"),
        Rename(f"{block}.mlp.fc2.{{*}}", f"{ours}.stages.{{i}}.{{j}}.mlp.3.{{*}}"),
        Constant(f"{block}.attn.relative_position_index", f"{ours}.stages.{{i}}.{{j}}.attn.relative_position_index"),
        Rename(f"{block}.{{*}}", f"{ours}.stages.{{i}}.{{j}}.{{*}}"),
        Rename(f"{published}.downsamples.{{i}}.{{*}}", f"{ours}.merges.{{i}}.{{*}}"),
    ]
