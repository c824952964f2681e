"""Image encoders: maps at strides 4, 8 and 16 of a normalised image.

Swin follows `networks/encoders/swin/swin_transformer.py` of the published code. MobileNetV2 and ResNet-50 have frozen
batch norm and output stride 16. Apart from these strides, and from attention over maps that fit in one window, which
the published code still shifts, they compute the same as torchvision's and have its names of parameters. torchvision is
not imported: it takes as long as torch itself.

Encoders say in `growth` how many numbers their largest intermediate result has for each pixel of an image.
"""

from collections import OrderedDict
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from torch import Tensor, nn

from aot_deaot.config import MOBILENET_V2, RESNET50, SwinShape

SEPARATED = -100.0  # added to logits between regions that are neighbours only because of the shift
INITIAL_STD = 0.02
EPSILON = 1e-5


class EncoderMaps(NamedTuple):
    """Feature maps of B images of H x W pixels.

    Attributes:
        s4, s8, s16: float [B, c, H/4, W/4], [B, c', H/8, W/8], [B, c'', H/16, W/16], sizes rounded up.
        deep: float [B, c''', H/16, W/16], what the propagation layers read; `s16` itself for Swin and ResNet.
    """

    s4: Tensor
    s8: Tensor
    s16: Tensor
    deep: Tensor


@lru_cache(maxsize=32)
def _separation(window: int, shift: int, mixed: tuple[bool, bool], device: torch.device, dtype: torch.dtype) -> Tensor:
    """[tokens, tokens] of a window: `SEPARATED` between tokens that are not neighbours in the image.

    Args:
        window, shift: sides in cells.
        mixed: whether its rows, and whether its columns, come from both ends of the image.
        device, dtype: of the result.
    """
    moved = torch.arange(window, device=device) >= window - shift
    region = (moved & mixed[0]).int()[:, None] * 2 + (moved & mixed[1]).int()
    return (region.flatten()[:, None] != region.flatten()).to(dtype) * SEPARATED


class WindowAttention(nn.Module):
    """Attention within windows, with a learned bias for each relative position. Every odd block shifts its windows.

    Zeros that fill the map up to whole windows take part as keys and values, as in the published code.

    Args:
        width: C.
        num_heads: divides it.
        window, shift: sides in cells.
    """

    relative_position_index: Tensor

    def __init__(self, width: int, num_heads: int, window: int, shift: int):
        super().__init__()
        self.num_heads, self.window, self.shift = num_heads, window, shift
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=INITIAL_STD)
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        down, right = place[:, :, None] - place[:, None] + window - 1
        index = down * (2 * window - 1) + right
        self.register_buffer("relative_position_index", index, persistent=False)  # the window size implies it

    def bias(self) -> Tensor:
        """What relative positions add to the logits, [1, heads, N, N]."""
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1).contiguous()[None]

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] to tokens of the same shape."""
        height, width = x.shape[1:3]
        window, shift = self.window, self.shift
        if height % window or width % window:
            x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        rows, columns = x.shape[1] // window, x.shape[2] // window
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
        windows = rearrange(x, "b (r i) (c j) d -> b r c (i j) d", i=window, j=window)
        bias = self.bias()
        if shift:
            attended = torch.empty_like(windows)
            for row, column in product(_ends(rows), _ends(columns)):
                part = (slice(None), row.windows, column.windows)
                mixed = (row.mixed, column.mixed)
                scores = bias + _separation(window, shift, mixed, x.device, bias.dtype) if any(mixed) else bias
                attended[part] = self._attend(windows[part], scores)
        else:
            attended = self._attend(windows, bias)
        x = rearrange(attended, "b r c (i j) d -> b (r i) (c j) d", i=window)
        if shift:
            x = x.roll((shift, shift), dims=(1, 2))
        return self.proj(x[:, :height, :width])

    def _attend(self, windows: Tensor, scores: Tensor) -> Tensor:
        """Attention within windows [B, R, C, N, D] that add the same to their logits, [1, heads, N, N]."""
        x = self.qkv(windows.flatten(0, 2))
        query, key, value = rearrange(x, "w n (t heads d) -> t w heads n d", t=3, heads=self.num_heads)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=scores)
        return rearrange(found, "w heads n d -> w n (heads d)").unflatten(0, windows.shape[:3])


class _End(NamedTuple):
    """Windows along one axis, and whether the shift has joined cells of both ends of the image in them."""

    windows: slice
    mixed: bool


def _ends(count: int) -> list[_End]:
    """Some shifted windows along an axis, and then the last one, which alone is mixed."""
    return [_End(slice(-1), mixed=False)] * (count > 1) + [_End(slice(-1, None), mixed=True)]


class SwinBlock(nn.Module):
    """Attention within windows and a feed-forward part, pre-norm, each with a residual connection."""

    def __init__(self, width: int, num_heads: int, window: int, shift: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, num_heads, window, shift)
        self.norm2 = nn.LayerNorm(width)
        layers = {"0": nn.Linear(width, 4 * width), "1": nn.GELU(), "3": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] to tokens of the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Four neighbouring tokens to one of twice the width."""

    def __init__(self, width: int):
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] to [B, H/2, W/2, 2 C]; odd sides are filled up with zeros."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        quarters = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(quarters, -1)))


class SwinEncoder(nn.Module):
    """Three Swin stages; each output is taken before the down-sampling and goes through a LayerNorm of its own."""

    PATCH = 4

    def __init__(self, shape: SwinShape):
        super().__init__()
        self.channels = [shape.embed_dim * 2**stage for stage in range(3)]
        self.growth = -(-4 * shape.embed_dim // self.PATCH**2)  # between the two layers of the first blocks' MLP
        patches = nn.Conv2d(3, shape.embed_dim, kernel_size=self.PATCH, stride=self.PATCH)
        parts: list[nn.Module] = [nn.Sequential(OrderedDict({"0": patches, "2": nn.LayerNorm(shape.embed_dim)}))]
        for stage, (width, depth, heads) in enumerate(zip(self.channels, shape.depths, shape.num_heads, strict=True)):
            if stage:
                parts.append(PatchMerging(width // 2))
            shifts = [shape.window // 2 * (block % 2) for block in range(depth)]
            parts.append(nn.Sequential(*(SwinBlock(width, heads, shape.window, shift) for shift in shifts)))
        self.features = nn.Sequential(*parts)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in self.channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> EncoderMaps:
        """Maps of normalised images [B, 3, H, W]; sides that are no multiple of 4 are filled up with zeros."""
        height, width = images.shape[-2:]
        x = F.pad(images, (0, -width % self.PATCH, 0, -height % self.PATCH))
        patches, norm = self.features[0].children()
        x = norm(patches(x).permute(0, 2, 3, 1))
        maps = []
        for stage, norm in enumerate(self.norms):
            if stage:
                x = self.features[2 * stage](x)
            x = self.features[2 * stage + 1](x)
            maps.append(rearrange(norm(x), "b h w c -> b c h w"))
        return EncoderMaps(*maps, deep=maps[-1])


class FrozenBatchNorm(nn.Module):
    """Batch norm whose statistics and scale never change."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int):
        super().__init__()
        for name, start in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=EPSILON)


def _normed(inputs: int, outputs: int, side: int = 1, *, stride: int = 1, dilation: int = 1, groups: int = 1):
    """A convolution that keeps the size but for its stride, and its norm."""
    padding = side // 2 * dilation
    return (
        nn.Conv2d(inputs, outputs, side, stride, padding, dilation, groups, bias=False),
        FrozenBatchNorm(outputs),
    )


def _init_convolutions(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, convolve each channel alone, narrow; with a residual connection where shapes fit."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, dilation: int, expansion: int):
        super().__init__()
        self.is_residual = stride == 1 and inputs == outputs
        width = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers.append(nn.Sequential(*_normed(inputs, width), nn.ReLU6(inplace=True)))
        depthwise = _normed(width, width, 3, stride=stride, dilation=dilation, groups=width)
        layers += [nn.Sequential(*depthwise, nn.ReLU6(inplace=True)), *_normed(width, outputs)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H/stride, W/stride]."""
        return x + self.conv(x) if self.is_residual else self.conv(x)


class MobileNetEncoder(nn.Module):
    """MobileNetV2 whose last stages keep stride 16 by dilation; the 1280-channel map feeds the propagation."""

    channels = (24, 32, 96)
    deep_channels = 1280
    growth = 24  # 96 channels at stride 2
    # expansion, channels, blocks, stride of the first, dilation of the first and of the others
    STAGES = ((1, 16, 1, 1, 1, 1), (6, 24, 2, 2, 1, 1), (6, 32, 3, 2, 1, 1), (6, 64, 4, 2, 1, 1), (6, 96, 3, 1, 1, 1),
              (6, 160, 3, 1, 1, 2), (6, 320, 1, 1, 2, 2))  # fmt: skip

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(*_normed(3, 32, 3, stride=2), nn.ReLU6(inplace=True))]
        width = 32
        for expansion, channels, blocks, stride, first, others in self.STAGES:
            for block in range(blocks):
                sizes = {"stride": stride, "dilation": first} if block == 0 else {"stride": 1, "dilation": others}
                layers.append(InvertedResidual(width, channels, expansion=expansion, **sizes))
                width = channels
        layers.append(nn.Sequential(*_normed(width, self.deep_channels), nn.ReLU6(inplace=True)))
        self.features = nn.Sequential(*layers)
        _init_convolutions(self)

    def forward(self, images: Tensor) -> EncoderMaps:
        """Maps of normalised images [B, 3, H, W]."""
        s4 = self.features[:4](images)
        s8 = self.features[4:7](s4)
        s16 = self.features[7:14](s8)
        return EncoderMaps(s4, s8, s16, self.features[14:](s16))


class Bottleneck(nn.Module):
    """ResNet's block: three convolutions, the outer two of one pixel, beside a residual connection."""

    EXPANSION = 4

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = self.EXPANSION * width
        self.conv1, self.bn1 = _normed(inputs, width)
        self.conv2, self.bn2 = _normed(width, width, 3, stride=stride)
        self.conv3, self.bn3 = _normed(width, outputs)
        fits = stride == 1 and inputs == outputs
        self.downsample = None if fits else nn.Sequential(*_normed(inputs, outputs, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, 4 * width, H/stride, W/stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu_()
        x = self.bn2(self.conv2(x)).relu_()
        return (self.bn3(self.conv3(x)) + shortcut).relu_()


class ResNetEncoder(nn.Module):
    """ResNet-50 without its last stage."""

    channels = (256, 512, 1024)
    growth = 16  # 64 channels at stride 2

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            *_normed(3, 64, 7, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
        )
        self.stages, inputs = nn.ModuleList(), 64
        for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2)):
            blocks = []
            for block in range(depth):
                blocks.append(Bottleneck(inputs, width, stride if block == 0 else 1))
                inputs = Bottleneck.EXPANSION * width
            self.stages.append(nn.Sequential(*blocks))
        _init_convolutions(self)

    def forward(self, images: Tensor) -> EncoderMaps:
        """Maps of normalised images [B, 3, H, W]."""
        s4 = self.stages[0](self.stem(images))
        s8 = self.stages[1](s4)
        s16 = self.stages[2](s8)
        return EncoderMaps(s4, s8, s16, s16)


def build_encoder(encoder: SwinShape | str) -> SwinEncoder | MobileNetEncoder | ResNetEncoder:
    """The encoder that a config names."""
    if isinstance(encoder, SwinShape):
        return SwinEncoder(encoder)
    return {MOBILENET_V2: MobileNetEncoder, RESNET50: ResNetEncoder}[encoder]()
