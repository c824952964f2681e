"""Sizes that ReferFormer and MUTR share, and the configurations of both by name."""

from dataclasses import dataclass, field
from typing import Self

from rvos_layers.blocks.config import DeformableConfig
from rvos_layers.encoders.config import BACKBONES, DEMO_TEXT, BackboneConfig, TextConfig, VideoSwinConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class GroundedConfig:
    """Sizes of the network; the defaults are those of the published models.

    Attributes:
        backbone: Video-Swin or ResNet.
        text: RoBERTa.
        transformer: the deformable transformer; the mask branch has the same feed-forward width and dropout.
        queries: object queries per frame.
        classes: logits per query; the published models have one, "is it the object".
        mask_channels: width of the mask features.
        dynamic_channels: width between a query's own convolutions.
        dynamic_layers: number of these convolutions.
    """

    backbone: BackboneConfig = BACKBONES["video-swin-b"]
    text: TextConfig = field(default_factory=TextConfig)
    transformer: DeformableConfig = field(default_factory=DeformableConfig)
    queries: int = 5
    classes: int = 1
    mask_channels: int = 256
    dynamic_channels: int = 8
    dynamic_layers: int = 3

    @classmethod
    def named(cls) -> dict[str, Self]:
        """One configuration for each public backbone; `tiny`, for tests with random weights; and `demo`, whose weights
        the packages bundle."""
        public = {name: cls(backbone=backbone) for name, backbone in BACKBONES.items()}
        return public | {"tiny": cls._tiny(), "demo": cls._demo()}

    @classmethod
    def _tiny(cls) -> Self:
        return cls(
            backbone=VideoSwinConfig(
                hidden_size=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window=(2, 3, 3), mlp_ratio=2.0
            ),
            text=TextConfig(vocab_size=320, hidden_size=48, layers=2, num_heads=4, feedforward_dim=64, positions=514),
            transformer=DeformableConfig(
                hidden_size=64, num_heads=4, encoder_layers=2, decoder_layers=3, feedforward_dim=96
            ),
            queries=3,
            mask_channels=16,
            dynamic_channels=4,
        )

    @classmethod
    def _demo(cls) -> Self:
        return cls(
            backbone=VideoSwinConfig(
                hidden_size=16,
                depths=(2, 2, 2, 1),
                num_heads=(1, 2, 4, 8),
                window=(2, 6, 5),
                mlp_ratio=2.0,
                stochastic_depth=0.0,
            ),
            text=DEMO_TEXT,
            transformer=DeformableConfig(
                hidden_size=96,
                encoder_layers=1,
                decoder_layers=1,
                feedforward_dim=192,
                encoder_points=2,
                decoder_points=2,
                dropout=0.0,
            ),
            queries=1,  # of several, training corrects only the best, and the masks need not follow the expression
            mask_channels=16,
        )
