"""From frames to image tokens: a backbone gives maps at strides 8, 16 and 32, the pyramid projects them and adds one.

Both are detectron2 backbones (they return `res3`, `res4`, `res5`), so that its registry can build them.
Letters: B frames, S tokens of all levels, C hidden channels.
"""

from functools import partial

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone, ViT
from timm.layers.norm import LayerNorm2d
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from uninext.config import LEVELS, SIZE_DIVISIBILITY, STRIDES, ConvNeXtConfig, ViTConfig
from uninext.geometry import FrameGeometry

FEATURES = ("res3", "res4", "res5")


class PyramidBackbone(Backbone):
    """The interface to detectron2 that both backbones share.

    Args:
        channels: of the maps at strides 8, 16 and 32.
    """

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        self.channels = channels

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each feature map."""
        return {
            name: ShapeSpec(channels=channels, stride=stride)
            for name, channels, stride in zip(FEATURES, self.channels, STRIDES, strict=False)
        }

    @property
    def size_divisibility(self) -> int:
        """Both sides of the input must be multiples of this."""
        return SIZE_DIVISIBILITY


class ConvNeXtBackbone(PyramidBackbone):
    """timm's ConvNeXt without its head; the map of each used stage has its own channel norm."""

    def __init__(self, config: ConvNeXtConfig) -> None:
        super().__init__(config.dims[1:])
        network = ConvNeXt(
            num_classes=0,
            depths=config.depths,
            dims=config.dims,
            ls_init_value=1e-6 if config.layer_scale else None,
            norm_eps=config.norm_eps,
        )
        self.stem = network.stem
        self.stages = network.stages
        self.norms = nn.ModuleList(LayerNorm2d(dim, eps=config.norm_eps) for dim in self.channels)

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride] - detectron2 leaves the arguments open
        """Feature maps [B, C, H/s, W/s] of normalised images [B, 3, H, W]."""
        x = self.stages[0](self.stem(image))
        maps = []
        for stage, norm in zip(list(self.stages)[1:], self.norms, strict=True):
            x = stage(x)
            maps.append(norm(x))
        return dict(zip(FEATURES, maps, strict=True))


class ViTBackbone(PyramidBackbone):
    """detectron2's plain ViT; its one map of stride 16 is used at double, equal and half size."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__((config.embed_dim // 2, config.embed_dim, config.embed_dim))
        self.vit = ViT(
            img_size=config.img_size,
            patch_size=config.patch_size,
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            mlp_ratio=config.mlp_ratio,
            qkv_bias=config.qkv_bias,
            norm_layer=partial(nn.LayerNorm, eps=config.norm_eps),  # pyright: ignore[reportArgumentType] - only called
            use_abs_pos=config.use_abs_pos,
            use_rel_pos=config.use_rel_pos,
            window_size=config.window_size,
            window_block_indexes=config.window_block_indexes,
            pretrain_img_size=config.pretrain_img_size,
            out_feature="last_feat",
        )
        self.finer = nn.ConvTranspose2d(config.embed_dim, config.embed_dim // 2, 2, stride=2)
        self.coarser = nn.MaxPool2d(2)

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride] - detectron2 leaves the arguments open
        """Feature maps [B, C, H/s, W/s] of normalised images [B, 3, H, W]."""
        with torch.device(image.device):  # or detectron2 makes indices on the processor, and a GPU waits for them
            x = self.vit(image)["last_feat"]
        return dict(zip(FEATURES, (self.finer(x), x, self.coarser(x)), strict=True))


def build_backbone(config: ConvNeXtConfig | ViTConfig) -> PyramidBackbone:
    """Build the backbone of a configuration, with random weights."""
    return ConvNeXtBackbone(config) if isinstance(config, ConvNeXtConfig) else ViTBackbone(config)


class FeaturePyramid(nn.Module):
    """A convolution and a group norm for each level; the fourth convolves the last map with stride 2."""

    def __init__(self, backbone_channels: tuple[int, int, int], hidden_size: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(channels, hidden_size, 1) for channels in backbone_channels]
        convolutions.append(nn.Conv2d(backbone_channels[-1], hidden_size, 3, stride=2, padding=1))
        self.projections = nn.ModuleList(nn.Sequential(conv, nn.GroupNorm(32, hidden_size)) for conv in convolutions)
        self.level_codes = nn.Parameter(torch.empty(LEVELS, hidden_size))
        nn.init.normal_(self.level_codes)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps [B, C_i, H_i, W_i] at strides 8, 16, 32 to maps [B, C, H_i, W_i] at strides 8, 16, 32, 64."""
        return [project(x) for project, x in zip(self.projections, [*maps, maps[-1]], strict=True)]

    def position_encoding(self, geometry: FrameGeometry) -> Tensor:
        """Position encoding [S, C]: sinusoidal for the place, learned for the level."""
        sizes = [height * width for height, width in geometry.level_sizes]
        levels = torch.cat([code.expand(size, -1) for code, size in zip(self.level_codes, sizes, strict=True)])
        return (geometry.position_encoding + levels).to(levels.dtype)


def flatten_levels(maps: list[Tensor]) -> Tensor:
    """Maps [B, C, H_i, W_i] of all levels to tokens [B, S, C]."""
    return torch.cat([x.flatten(2).mT for x in maps], 1)
