"""Video-Swin backbone, with memory that hardly grows with the video's length.

Liu et al., "Video Swin Transformer", CVPR 2022; torchvision's `SwinTransformer3d` computes the same. The published
models take the four stage outputs before patch merging and without an output norm. All windows of all frames at once
would need tens of gigabytes for a minute of video. In evaluation the blocks work on one window depth of frames (a
slab) after the other and update the feature map in place. That is safe because every token belongs to exactly one
window. They attend within a bounded number of windows at once.

torchvision is not imported: it takes as long as torch itself.

Shapes: B clips, T frames, h x w map, C channels, N tokens in a window.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial

import torch
from einops import rearrange
from program_kit.torch.checkpoint.table import Constant, Rename, Rule
from program_kit.torch.memory import rows_at_once
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from rvos_layers.chunks import chunk_slices, map_chunks
from rvos_layers.encoders.config import VideoSwinConfig
from rvos_layers.encoders.windows import Slab, WindowLayout

INITIAL_STD = 0.02


class VideoSwin(nn.Module):
    """Frames to feature maps at strides 4, 8, 16 and 32 (for patch 4 and four stages)."""

    def __init__(self, config: VideoSwinConfig) -> None:
        super().__init__()
        self.growth = -(-config.hidden_size // math.prod((3, *config.patch)))  # from a frame to its patches
        self.patch_embed = PatchEmbedding(config.patch, config.hidden_size)
        self.stages, self.merges = nn.ModuleList(), nn.ModuleList()
        last = max(1, sum(config.depths) - 1)
        for stage, (depth, num_heads) in enumerate(zip(config.depths, config.num_heads, strict=True)):
            width, before = config.stage_channels[stage], sum(config.depths[:stage])
            blocks = [
                SlabBlock(
                    width,
                    num_heads,
                    config.window,
                    tuple(side // 2 if block % 2 else 0 for side in config.window),
                    feedforward_dim=int(width * config.mlp_ratio),
                    drop_rate=config.stochastic_depth * (before + block) / last,
                )
                for block in range(depth)
            ]
            self.stages.append(nn.Sequential(*blocks))
            if stage + 1 < len(config.depths):
                self.merges.append(PatchMerging(width))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

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


class PatchEmbedding(nn.Module):
    """Patches of frames to tokens, with a norm."""

    def __init__(self, patch: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, width, kernel_size=patch, stride=patch)
        self.norm = nn.LayerNorm(width)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, 3, T, H, W] to [B, T, h, w, C]; sides are filled up with zeros to whole patches."""
        fill = [-length % side for length, side in zip(frames.shape[2:], self.proj.kernel_size, strict=True)]
        patches = self.proj(pad(frames, (0, fill[2], 0, fill[1], 0, fill[0])))
        return self.norm(patches.permute(0, 2, 3, 4, 1))


class PatchMerging(nn.Module):
    """Four neighbouring tokens of a frame to one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, h, w, C] to [B, T, h/2, w/2, 2 C]; odd sides are filled up with zeros."""
        x = pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        quarters = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(quarters, -1)))


class WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a learned bias for each relative position.

    Args:
        width: C.
        num_heads: divides it.
        window: its configured size.
    """

    relative_position_index: Tensor

    def __init__(self, width: int, num_heads: int, window: tuple[int, int, int]) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        places = math.prod(2 * side - 1 for side in window)
        self.relative_position_bias_table = nn.Parameter(torch.empty(places, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=INITIAL_STD)
        # The window size implies it, so it is not saved.
        self.register_buffer("relative_position_index", relative_positions(window), persistent=False)

    def bias(self, window: tuple[int, int, int]) -> Tensor:
        """What relative positions add to the scores, [1, heads, N, N].

        For a window that is cut short, as published: the first entries of the index for the whole one.
        """
        tokens = math.prod(window)
        index = self.relative_position_index[:tokens, :tokens].flatten()
        return self.relative_position_bias_table[index].view(tokens, tokens, -1).permute(2, 0, 1).contiguous()[None]

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """Windows [W, N, C] to the same shape; `scores` [1, heads, N, N] are added to those of all of them."""
        query, key, value = rearrange(self.qkv(x), "w n (k m c) -> k w m n c", k=3, m=self.num_heads)
        heads = scaled_dot_product_attention(query, key, value, attn_mask=scores)
        return self.proj(rearrange(heads, "w m n c -> w n (m c)"))


def relative_positions(window: tuple[int, int, int]) -> Tensor:
    """Row int64 [N, N] of the bias table for each pair of tokens."""
    grid = torch.meshgrid(*(torch.arange(side) for side in window), indexing="ij")
    places = torch.stack(grid).flatten(1)  # [3, N]
    index = torch.zeros(places.shape[1], places.shape[1], dtype=torch.int64)
    for axis, side in zip(places, window, strict=True):
        index = index * (2 * side - 1) + axis[:, None] - axis + side - 1
    return index


class StochasticDepth(nn.Module):
    """In training, drops a branch for some clips and makes up for it in the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.p = rate

    def forward(self, x: Tensor) -> Tensor:
        """[B, ...] to the same shape."""
        if not self.training or not self.p:
            return x
        kept = x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p)


class SlabBlock(nn.Module):
    """Attention within windows and a feed-forward part, pre-norm, each with a residual connection.

    Without gradients it updates its input in place, one slab of frames after the other.

    Args:
        width: C.
        num_heads: of the attention.
        window, shift: configured sizes; the windows of a map are those of `WindowLayout`.
        feedforward_dim: inner width of the feed-forward part.
        drop_rate: of the branches, in training.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        window: tuple[int, int, int],
        shift: tuple[int, ...],
        *,
        feedforward_dim: int,
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.window, self.shift, self.feedforward_dim = window, shift, feedforward_dim
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, num_heads, window)
        self.stochastic_depth = StochasticDepth(drop_rate)
        self.norm2 = nn.LayerNorm(width)
        layers = {"0": nn.Linear(width, feedforward_dim), "1": nn.GELU(), "3": nn.Linear(feedforward_dim, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, T, h, w, C] to the same shape (to the same memory when gradients are off)."""
        layout = WindowLayout.of(x.shape[1:4], self.window, self.shift)
        bias = self.attn.bias(layout.window)
        if self.training or torch.is_grad_enabled():
            return self._whole(x, layout, bias)
        frame_bytes = len(x) * x[0, 0, ..., 0].numel() * self.feedforward_dim * x.element_size()
        for slab in layout.slabs(rows_at_once(x.device, frame_bytes)):
            tokens = slab.read(x)
            tokens += self._attend(self.norm1(tokens), slab, bias)
            tokens += self.mlp(self.norm2(tokens))
            slab.write(tokens, x)
        return x

    def _whole(self, x: Tensor, layout: WindowLayout, bias: Tensor) -> Tensor:
        """All frames as one slab, whose frames come back into their order afterwards."""
        (slab,) = layout.slabs(layout.padded[0])
        first, _ = slab.frames
        tokens = slab.read(x)
        tokens = tokens + self.stochastic_depth(self._attend(self.norm1(tokens), slab, bias))
        tokens = tokens + self.stochastic_depth(self.mlp(self.norm2(tokens)))
        return tokens.roll(first.start, 1)

    def _attend(self, x: Tensor, slab: Slab, bias: Tensor) -> Tensor:
        windows = slab.to_windows(x)
        attended = torch.empty_like(windows) if torch.is_grad_enabled() else windows
        at_once = len(windows.flatten(0, 3)) if torch.is_grad_enabled() else rows_at_once(x.device, bias.nbytes)
        for part, separated in slab.parts(bias):
            scores = bias if separated is None else bias + separated
            own = windows[part]
            found = map_chunks(partial(self.attn, scores=scores), own.flatten(0, 3), at_once)
            attended[part] = found.unflatten(0, own.shape[:4])
        return slab.from_windows(attended)


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
