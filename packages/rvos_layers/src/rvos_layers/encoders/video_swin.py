"""Video-Swin backbone: torchvision's `SwinTransformer3d`, with memory that hardly grows with the video's length.

The published models take the four stage outputs before patch merging and without an output norm. torchvision's blocks
reproduce them bit for bit, but compute all windows of all frames at once; a minute of video would need tens of
gigabytes. In evaluation the blocks here work on one window depth of frames (a slab) after the other and update the
feature map in place. That is safe because every token belongs to exactly one window. They attend within a bounded
number of windows at once, with `scaled_dot_product_attention`. The result is torchvision's up to float rounding (1e-6).

Shapes: B clips, T frames, h x w map, C channels, N tokens in a window.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import torch
from einops import rearrange
from program_kit.torch.checkpoint.table import Constant, Rename, Rule
from program_kit.torch.memory import rows_at_once
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d, SwinTransformer3d

from rvos_layers.chunks import chunk_slices, map_chunks
from rvos_layers.encoders.config import VideoSwinConfig

MASKED_SCORE = -100.0  # added to the attention score of tokens that must not see each other, as published


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
        self.growth = -(-config.hidden_size // math.prod((3, *config.patch)))  # from a frame to its patches
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
        x = _map_frames(lambda chunk: self.patch_embed(chunk.transpose(1, 2)), frames, self.growth)
        for index, stage in enumerate(self.stages):
            if index:
                x = _map_frames(self.merges[index - 1], x)
            x = stage(x)
            yield x.permute(0, 1, 4, 2, 3)


def _map_frames(function: Callable[[Tensor], Tensor], x: Tensor, growth: int = 1) -> Tensor:
    """Apply a function to some frames of all clips at once, [B, T, ...] to [B, T, ...]; frames are independent.

    Args:
        function: how frames are mapped.
        x: the frames.
        growth: how many times as large as a frame its largest intermediate result is.
    """
    at_once = rows_at_once(x.device, growth * x[:, 0].nbytes)
    return torch.cat([function(x[:, chunk]) for chunk in chunk_slices(x.shape[1], at_once)], dim=1)


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
        hidden = self.mlp[0]
        assert isinstance(hidden, nn.Linear)
        frame_bytes = len(x) * x[0, 0, ..., 0].numel() * hidden.out_features * x.element_size()
        frames = rows_at_once(x.device, frame_bytes)
        for slab in layout.slabs(frames):
            tokens = slab.read(x)
            tokens += self._attend(self.norm1(tokens), slab, bias)
            tokens += self.mlp(self.norm2(tokens))
            slab.write(tokens, x)
        return x

    def _attend(self, x: Tensor, slab: "Slab", bias: Tensor) -> Tensor:
        windows = slab.to_windows(x)
        at_once = rows_at_once(x.device, bias.nbytes)
        for part, separated in slab.parts(bias):
            scores = bias if separated is None else bias + separated
            own = windows[part]
            attended = map_chunks(partial(self._window_attention, scores=scores), own.flatten(0, 3), at_once)
            windows[part] = attended.unflatten(0, own.shape[:4])
        return slab.from_windows(windows)

    def _window_attention(self, x: Tensor, scores: Tensor) -> Tensor:
        query, key, value = rearrange(self.attn.qkv(x), "w n (k m c) -> k w m n c", k=3, m=self.attn.num_heads)
        heads = scaled_dot_product_attention(query, key, value, attn_mask=scores)
        return self.attn.proj(rearrange(heads, "w m n c -> w n (m c)"))


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

    def slabs(self, frames: int) -> "Iterator[Slab]":
        """Slabs of about so many frames, at least of one window's depth; together they hold every frame once."""
        depth = max(1, frames // self.window[0]) * self.window[0]
        for start in range(0, self.padded[0], depth):
            yield Slab(self, start, min(start + depth, self.padded[0]))


@dataclass(frozen=True, slots=True)
class Slab:
    """The frames of one or several window depths. Windows are [B, K, I, J, N, C]: K in time, I rows of J, N tokens.

    Attributes:
        layout: windows of the whole map.
        start, stop: its positions along shifted, padded time.
    """

    layout: WindowLayout
    start: int
    stop: int

    @property
    def frames(self) -> tuple[slice, slice]:
        """The frames at its first positions, and those at its last ones, which the shift moved there from the start."""
        length, padded, shift = self.layout.size[0], self.layout.padded[0], self.layout.shift[0]
        first, last = self.start + shift, self.stop + shift
        return slice(min(first, length), min(last, length)), slice(max(0, first - padded), max(0, last - padded))

    def read(self, x: Tensor) -> Tensor:
        """Its frames of [B, T, h, w, C]; a view where they follow one another."""
        first, moved = (x[:, part] for part in self.frames)
        return torch.cat((first, moved), dim=1) if moved.shape[1] else first

    def write(self, frames: Tensor, x: Tensor) -> None:
        """Put what `read` gave back into `x`; nothing to do for a view."""
        first, moved = (x[:, part] for part in self.frames)
        if moved.shape[1]:
            first.copy_(frames[:, : first.shape[1]])
            moved.copy_(frames[:, first.shape[1] :])

    def to_windows(self, x: Tensor) -> Tensor:
        """Divide the slab's frames [B, frames, h, w, C] into windows."""
        size, padded, (_, down, right) = self.layout.size, self.layout.padded, self.layout.shift
        slab = pad(x, (0, 0, 0, padded[2] - size[2], 0, padded[1] - size[1]))
        if missing := self.stop - self.start - x.shape[1]:
            first = self._first
            nothing = slab.new_zeros(len(slab), missing, *slab.shape[2:])
            slab = torch.cat((slab[:, :first], nothing, slab[:, first:]), dim=1)
        if down or right:
            slab = slab.roll((-down, -right), (2, 3))
        depth, rows, columns = self.layout.window
        return rearrange(slab, "b (k t) (i r) (j c) d -> b k i j (t r c) d", t=depth, r=rows, c=columns)

    def from_windows(self, windows: Tensor) -> Tensor:
        """Undo `to_windows`: windows to [B, frames, h, w, C]."""
        depth, rows, columns = self.layout.window
        slab = rearrange(windows, "b k i j (t r c) d -> b (k t) (i r) (j c) d", t=depth, r=rows, c=columns)
        _, down, right = self.layout.shift
        if down or right:
            slab = slab.roll((down, right), (2, 3))
        first, moved = (part.stop - part.start for part in self.frames)
        if first + moved < slab.shape[1]:
            slab = torch.cat((slab[:, :first], slab[:, slab.shape[1] - moved :]), dim=1)
        _, height, width = self.layout.size
        return slab[:, :, :height, :width]

    @property
    def _first(self) -> int:
        return self.frames[0].stop - self.frames[0].start

    def parts(self, like: Tensor) -> Iterator[tuple[tuple[slice, ...], Tensor | None]]:
        """Cut the windows into parts that have one thing in common: which tokens must not see each other.

        Shifted windows at the end of an axis hold tokens of both ends. All others need no mask.

        Args:
            like: has the device and the type of the result.

        Yields:
            a part of the windows, and what is added to its attention scores, [N, N]; None for nothing.
        """
        at_end = [shift > 0 for shift in self.layout.shift]
        at_end[0] = at_end[0] and self.stop == self.layout.padded[0]
        counts = (self.stop - self.start) // self.layout.window[0], 2, 2  # of windows; a shifted axis has two or more
        choices = [
            [(slice(None), False)] if not mixed else [(slice(-1), False)] * (count > 1) + [(slice(-1, None), True)]
            for mixed, count in zip(at_end, counts, strict=True)
        ]
        for axes in product(*choices):
            mixed = tuple(flag for _, flag in axes)
            scores = separation(self.layout.window, self.layout.shift, mixed, like.device, like.dtype)
            yield (slice(None), *(part for part, _ in axes)), scores if any(mixed) else None


@lru_cache(maxsize=128)
def separation(
    window: tuple[int, int, int],
    shift: tuple[int, int, int],
    mixed: tuple[bool, ...],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Scores [N, N] that keep tokens of a window apart which were no neighbours before the shift.

    Args:
        window, shift: as in `WindowLayout`.
        mixed: for each axis, whether the window holds tokens of both ends.
        device, dtype: of the result.
    """
    ends = [
        (torch.arange(length, device=device) >= length - moved) & flag
        for length, moved, flag in zip(window, shift, mixed, strict=True)
    ]
    tokens = torch.stack(torch.meshgrid(*ends, indexing="ij"), dim=-1).flatten(0, 2)  # [N, 3]
    differ = (tokens[:, None] != tokens[None]).any(-1)
    return differ.to(dtype) * MASKED_SCORE


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
