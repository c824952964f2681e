"""Image encoders: maps at strides 4, 8 and 16 of a normalised image.

Swin follows `networks/encoders/swin/swin_transformer.py` of the published code and is torchvision's except for the
attention over maps that fit in one window, which the published code still shifts and torchvision does not. MobileNetV2
and ResNet-50 are torchvision's with frozen batch norm, at output stride 16.
"""

from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet50
from torchvision.models.swin_transformer import ShiftedWindowAttention, SwinTransformer, SwinTransformerBlock
from torchvision.ops import FrozenBatchNorm2d

from aot_deaot.config import MOBILENET_V2, RESNET50, SwinShape

SEPARATED = -100.0  # added to logits between regions that are neighbours only because of the shift


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


class WindowAttention(ShiftedWindowAttention):
    """torchvision's window attention, but every odd block shifts, even on a map of a single window.

    Zeros that fill the map up to whole windows take part as keys and values, as in the published code.
    """

    def define_relative_position_index(self):
        """Keep the index out of the state dict: it can be computed from the window size."""
        super().define_relative_position_index()
        index = cast(Tensor, self.relative_position_index)
        self.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] to tokens of the same shape."""
        height, width = x.shape[1:3]
        window, shift = self.window_size[0], self.shift_size[0]
        x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        rows, columns = x.shape[1] // window, x.shape[2] // window
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
        windows = rearrange(x, "b (r i) (c j) d -> b r c (i j) d", i=window, j=window)
        bias = self.get_relative_position_bias()
        attended = torch.empty_like(windows)
        for row, column in product(_ends(rows, shift), _ends(columns, shift)):
            part = (slice(None), row.windows, column.windows)
            mixed = (row.mixed, column.mixed)
            scores = bias + _separation(window, shift, mixed, x.device, bias.dtype) if any(mixed) else bias
            attended[part] = self._attend(windows[part].flatten(0, 2), scores).unflatten(0, windows[part].shape[:3])
        x = rearrange(attended, "b r c (i j) d -> b (r i) (c j) d", i=window)
        if shift:
            x = x.roll((shift, shift), dims=(1, 2))
        return self.proj(x[:, :height, :width])

    def _attend(self, x: Tensor, scores: Tensor) -> Tensor:
        """Attention within windows [W, N, C] that add the same to their logits, [1, heads, N, N]."""
        query, key, value = rearrange(self.qkv(x), "w n (t heads d) -> t w heads n d", t=3, heads=self.num_heads)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=scores)
        return rearrange(found, "w heads n d -> w n (heads d)")


class _End(NamedTuple):
    """Windows along one axis, and whether the shift has joined cells of both ends of the image in them."""

    windows: slice
    mixed: bool


def _ends(count: int, shift: int) -> list[_End]:
    """Some windows along an axis, and then the last one, which alone is mixed; only the shift makes a difference."""
    if not shift:
        return [_End(slice(None), mixed=False)]
    return [_End(slice(-1), mixed=False)] * (count > 1) + [_End(slice(-1, None), mixed=True)]


class SwinEncoder(nn.Module):
    """Three Swin stages; each output is taken before the down-sampling and goes through a LayerNorm of its own."""

    PATCH = 4

    def __init__(self, shape: SwinShape):
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-5)
        self.features = SwinTransformer(
            patch_size=[self.PATCH, self.PATCH],
            embed_dim=shape.embed_dim,
            depths=list(shape.depths),
            num_heads=list(shape.num_heads),
            window_size=[shape.window, shape.window],
            stochastic_depth_prob=0.0,
            norm_layer=norm,
            block=partial(SwinTransformerBlock, attn_layer=WindowAttention),
        ).features
        self.channels = [shape.embed_dim * 2**stage for stage in range(3)]
        self.norms = nn.ModuleList(norm(channels) for channels in self.channels)

    def forward(self, images: Tensor) -> EncoderMaps:
        """Maps of normalised images [B, 3, H, W]; sides that are no multiple of 4 are filled up with zeros."""
        height, width = images.shape[-2:]
        x = F.pad(images, (0, -width % self.PATCH, 0, -height % self.PATCH))
        x = self.features[0](x)
        maps = []
        for stage, norm in enumerate(self.norms):
            if stage:
                x = self.features[2 * stage](x)
            x = self.features[2 * stage + 1](x)
            maps.append(rearrange(norm(x), "b h w c -> b c h w").contiguous())
        return EncoderMaps(*maps, deep=maps[-1])


class MobileNetEncoder(nn.Module):
    """MobileNetV2 whose last stages keep stride 16 by dilation; the 1280-channel map feeds the propagation."""

    channels = (24, 32, 96)
    deep_channels = 1280

    def __init__(self):
        super().__init__()
        self.features = mobilenet_v2(norm_layer=FrozenBatchNorm2d).features
        for index, dilation in ((14, 1), (15, 2), (16, 2), (17, 2)):
            depthwise = cast(nn.Conv2d, self.features.get_submodule(f"{index}.conv.1.0"))
            depthwise.stride, depthwise.dilation, depthwise.padding = (1, 1), (dilation,) * 2, (dilation,) * 2

    def forward(self, images: Tensor) -> EncoderMaps:
        """Maps of normalised images [B, 3, H, W]."""
        s4 = self.features[:4](images)
        s8 = self.features[4:7](s4)
        s16 = self.features[7:14](s8)
        return EncoderMaps(s4, s8, s16, self.features[14:](s16))


class ResNetEncoder(nn.Module):
    """ResNet-50 without its last stage."""

    channels = (256, 512, 1024)

    def __init__(self):
        super().__init__()
        whole = resnet50(norm_layer=FrozenBatchNorm2d)
        self.stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool)
        self.stages = nn.ModuleList([whole.layer1, whole.layer2, whole.layer3])

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
