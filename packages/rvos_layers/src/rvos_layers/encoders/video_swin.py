"""Video-Swin backbone: torchvision's `SwinTransformer3d`, run so that its memory does not follow the video's length.

The published models take the four stage outputs before patch merging and without an output norm. torchvision's blocks
reproduce them bit for bit, but compute all windows of all frames at once; a minute of video would need tens of
gigabytes. In evaluation the blocks here go through time one window depth after the other, add to the feature map in
place (windows partition the tokens, so nobody reads what another slab has written), and attend a bounded number of
windows at once through `scaled_dot_product_attention`. That is torchvision's result up to float rounding (1e-6).

Shapes below: B clips, T frames, h x w map, C channels, N tokens in a window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d, SwinTransformer3d

from rvos_layers.checkpoint import Constant, Rename, Rule
from rvos_layers.encoders.config import VideoSwinConfig
from rvos_layers.frame_groups import groups

HIDDEN_BY_MASK = -100.0
SCORE_BYTES = 64 * 2**20  # of position biases and masks, a window's share of which bounds the windows attended at once
FRAMES_AT_ONCE = 8  # in patch embedding and merging, which know no time


class VideoSwin(nn.Module):
    """Frames to feature maps at strides 4, 8, 16 and 32 (for patch 4 and four stages)."""

    def __init__(self, config: VideoSwinConfig) -> None:
        super().__init__()
        swin = SwinTransformer3d(
            patch_size=list(config.patch),
            embed_dim=config.channels,
            depths=list(config.depths),
            num_heads=list(config.heads),
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
        """All stage outputs at once; see `stages_of`."""
        return list(self.stages_of(frames))

    def stages_of(self, frames: Tensor) -> Iterator[Tensor]:
        """Yield the output of one stage after the other, so that a caller can use it up before the next one exists.

        Args:
            frames: [B, T, 3, H, W], normalised. Sides that are no multiple of the patch are padded with zeros.

        Yields:
            [B, T, C, h, w] with h = ceil(H/4), halved and rounded up at each further stage; a
            view of channels-last memory.
        """
        x = _by_time(lambda some: self.patch_embed(some.transpose(1, 2)), frames)
        for index, stage in enumerate(self.stages):
            if index:
                x = _by_time(self.merges[index - 1], x)
            x = stage(x)
            yield x.permute(0, 1, 4, 2, 3)


def _by_time(function, x: Tensor) -> Tensor:
    """Apply a function that knows no time to a few frames of all clips at once; both sides are [B, T, ...]."""
    return torch.cat([function(x[:, some]) for some in groups(x.shape[1], FRAMES_AT_ONCE)], dim=1)


class SlabBlock(SwinTransformerBlock):
    """torchvision's block; without gradients it updates its input in place, one temporal slab after the other."""

    attn: ShiftedWindowAttention3d

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Follows from the window size: not worth saving 24 times.
        index = self.attn.get_buffer("relative_position_index")
        self.attn.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, T, h, w, C] to the same shape (to the same memory when no gradient is asked for)."""
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
        windows, regions = slab.cut(x)
        attended = torch.empty_like(windows)
        for some, mask in _window_groups(len(windows), regions, bias):
            attended[some] = self._window_attention(windows[some], mask)
        return slab.join(attended, len(x))

    def _window_attention(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = rearrange(self.attn.qkv(x), "w n (k m c) -> k w m n c", k=3, m=self.attn.num_heads)
        heads = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.attn.proj(rearrange(heads, "w m n c -> w n (m c)"))


def _window_groups(count: int, regions: Tensor | None, bias: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut windows into groups, with what is to be added to their attention scores.

    The shift brings strangers together in border windows only; the others do with the position bias.

    Args:
        count: number W of windows.
        regions: [W, N] region numbers of their tokens; None when nothing is shifted.
        bias: [1, heads, N, N].

    Yields:
        indices [w], and scores to add [w or 1, heads, N, N].
    """
    if regions is None:
        regions = torch.zeros(count, 1, device=bias.device)
    mixed = (regions != regions[:, :1]).any(1)
    size = max(1, SCORE_BYTES // (bias.numel() * bias.element_size()))
    plain, mixed = (~mixed).nonzero().squeeze(1), mixed.nonzero().squeeze(1)
    for some in groups(len(plain), size):
        yield plain[some], bias
    for some in groups(len(mixed), size):
        of_tokens = regions[mixed[some]]
        strangers = of_tokens[:, None, :, None] != of_tokens[:, None, None, :]
        yield mixed[some], bias + strangers * HIDDEN_BY_MASK


@dataclass(frozen=True, slots=True)
class WindowLayout:
    """How a feature map is cut into (shifted) windows.

    Attributes:
        size: (T, h, w) of the map.
        window: window size; along an axis that is not longer than the window it is the whole axis.
        shift: cyclic shift; 0 along such an axis.
    """

    size: tuple[int, int, int]
    window: tuple[int, int, int]
    shift: tuple[int, int, int]

    @classmethod
    def of(cls, size: tuple[int, ...], attention: ShiftedWindowAttention3d) -> "WindowLayout":
        """The layout `attention` uses on a map of this size."""
        axes = list(zip(size, attention.window_size, attention.shift_size, strict=True))
        window = tuple(min(length, window) for length, window, _ in axes)
        shift = tuple(shift if length > window else 0 for length, window, shift in axes)
        return cls(tuple(size), window, shift)  # pyright: ignore[reportArgumentType]  three axes each

    @property
    def padded(self) -> tuple[int, ...]:
        """Size of the map after padding every axis to a multiple of its window."""
        return tuple(-(-length // window) * window for length, window in zip(self.size, self.window, strict=True))

    def slabs(self) -> "Iterator[Slab]":
        """One slab for every row of windows along time; their frames partition the clip."""
        for start in range(0, self.padded[0], self.window[0]):
            rolled = range(start, start + self.window[0])  # positions after the shift
            sources = [(position + self.shift[0]) % self.padded[0] for position in rolled]
            kept = [(place, frame) for place, frame in enumerate(sources) if frame < self.size[0]]
            if kept:
                places, frames = zip(*kept, strict=True)
                yield Slab(self, start, list(places), list(frames))

    def regions_along(self, axis: int, device: torch.device) -> Tensor:
        """Number of the region each padded position comes from after the shift: equal ones were neighbours before."""
        length, window, shift = self.padded[axis], self.window[axis], self.shift[axis]
        position = torch.arange(length, device=device)
        if not shift:
            return torch.zeros_like(position)
        return (position >= length - window).long() + (position >= length - shift).long()


@dataclass(frozen=True, slots=True)
class Slab:
    """One row of windows along time.

    Attributes:
        layout: the cut of the whole map.
        start: first position along shifted, padded time.
        places: where in the slab its frames go; other places are padding.
        frames: the frames.
    """

    layout: WindowLayout
    start: int
    places: list[int]
    frames: list[int]

    def cut(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Cut the slab's frames [B, frames, h, w, C] into windows.

        Returns:
            windows [B*W, N, C], and region numbers [B*W, N] of their tokens (None when nothing is shifted).
        """
        depth, height, width = self.layout.window[0], *self.layout.padded[1:]
        _, rows, columns = self.layout.size
        padded = pad(x, (0, 0, 0, width - columns, 0, height - rows))
        if len(self.places) < depth:
            slab = x.new_zeros(len(x), depth, *padded.shape[2:])
            slab[:, self.places] = padded
        else:
            slab = padded
        _, down, right = self.layout.shift
        if down or right:
            slab = slab.roll((-down, -right), (2, 3))
        return self._partition(slab), self._regions(len(x), x.device)

    def join(self, windows: Tensor, clips: int) -> Tensor:
        """Undo `cut`: windows [B*W, N, C] to [B, frames, h, w, C]."""
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
        return slab[:, self.places, :height, :width]

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
