"""Image backbones: a frame to feature maps at strides 8, 16 and 32.

Both are detectron2 backbones (they return `res3`, `res4`, `res5`), so that its registry can build them.
"""

from functools import partial

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone, ViT
from timm.layers.norm import LayerNorm2d
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from uninext.config import SIZE_DIVISIBILITY, STRIDES, ConvNeXtConfig, ViTConfig

FEATURES = ("res3", "res4", "res5")


class PyramidBackbone(Backbone):
    """What both backbones are to detectron2.

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
    """timm's ConvNeXt without its head; each used stage passes a channel norm of its own."""

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
    """detectron2's plain ViT; its one map of stride 16 is doubled, kept, and halved."""

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
        x = self.vit(image)["last_feat"]
        return dict(zip(FEATURES, (self.finer(x), x, self.coarser(x)), strict=True))


def build_backbone(config: ConvNeXtConfig | ViTConfig) -> PyramidBackbone:
    """The backbone that a configuration describes."""
    return ConvNeXtBackbone(config) if isinstance(config, ConvNeXtConfig) else ViTBackbone(config)
