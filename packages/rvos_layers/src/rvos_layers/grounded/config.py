"""Sizes that ReferFormer and MUTR have in common, and the configurations of both that one can choose by name."""

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
        transformer: the deformable transformer; its feed-forward width and dropout hold for the pixel decoder too.
        queries: object queries per frame.
        classes: logits per query; a single one says "is it the object referred to".
        mask_channels: width of the mask features.
        dynamic_channels: width inside a query's own convolutions.
        dynamic_layers: how many of these there are.
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
        """One configuration for each public backbone, `tiny`, a network for tests that fits random weights only, and
        `demo`, whose weights the programs ship."""
        public = {name: cls(backbone=backbone) for name, backbone in BACKBONES.items()}
        return public | {"tiny": cls._tiny(), "demo": cls._demo()}

    @classmethod
    def _tiny(cls) -> Self:
        return cls(
            backbone=VideoSwinConfig(
                channels=16, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8), window=(2, 3, 3), mlp_ratio=2.0
            ),
            text=TextConfig(vocabulary=320, hidden=48, layers=2, heads=4, feedforward=64, positions=514),
            transformer=DeformableConfig(channels=64, heads=4, encoder_layers=2, decoder_layers=3, feedforward=96),
            queries=3,
            mask_channels=16,
            dynamic_channels=4,
        )

    @classmethod
    def _demo(cls) -> Self:
        return cls(
            backbone=VideoSwinConfig(
                channels=16,
                depths=(2, 2, 2, 1),
                heads=(1, 2, 4, 8),
                window=(2, 6, 5),
                mlp_ratio=2.0,
                stochastic_depth=0.0,
            ),
            text=DEMO_TEXT,
            transformer=DeformableConfig(
                channels=96,
                encoder_layers=1,
                decoder_layers=1,
                feedforward=192,
                encoder_points=2,
                decoder_points=2,
                dropout=0.0,
            ),
            queries=1,  # so its mask must follow the sentence; of several, training corrects the best one only
            mask_channels=16,
        )
