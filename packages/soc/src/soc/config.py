"""Sizes of the network, and the configurations one can choose by name."""

from dataclasses import dataclass, field

from rvos_layers.blocks.config import DeformableConfig, FrameQueryConfig
from rvos_layers.encoders.config import BACKBONES, DEMO_TEXT, BackboneConfig, TextConfig, VideoSwinConfig

from soc.mask_features import WIDTH_UNIT


@dataclass(frozen=True, kw_only=True, slots=True)
class SOCConfig:
    """Sizes of the network; the defaults are those of the published model.

    Attributes:
        backbone: Video-Swin.
        text: RoBERTa.
        transformer: the deformable transformer.
        cluster: the object cluster.
        queries: object queries of a frame, and of the clip.
        classes: logits per query; a single one says "is it the object referred to".
        mask_channels: width of the mask features.
        dynamic_channels: width inside a query's own convolutions.
        dynamic_layers: how many of these there are.
    """

    backbone: BackboneConfig = BACKBONES["video-swin-b"]
    text: TextConfig = field(default_factory=TextConfig)
    transformer: DeformableConfig = field(default_factory=lambda: DeformableConfig(encoder_layers=3, decoder_layers=3))
    cluster: FrameQueryConfig = field(default_factory=lambda: FrameQueryConfig(channels=256))
    queries: int = 20
    classes: int = 1
    mask_channels: int = 8
    dynamic_channels: int = 8
    dynamic_layers: int = 3

    def __post_init__(self) -> None:
        if self.cluster.channels != self.channels:
            raise ValueError(
                f"the object cluster ({self.cluster.channels} channels) reads queries of {self.channels} channels"
            )
        if self.channels % WIDTH_UNIT:
            raise ValueError(f"channels must be a multiple of {WIDTH_UNIT}, not {self.channels}")

    @property
    def channels(self) -> int:
        """Width of tokens, words and queries."""
        return self.transformer.channels


CONFIGS = {
    "joint-base": SOCConfig(),  # the member of the ensemble: joint_base.tar
    "tiny": SOCConfig(  # for tests; there are no trained weights of this size
        backbone=VideoSwinConfig(channels=16, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8), window=(2, 3, 3), mlp_ratio=2.0),
        text=TextConfig(vocabulary=320, hidden=48, layers=2, heads=4, feedforward=64, positions=514),
        transformer=DeformableConfig(channels=128, heads=4, encoder_layers=1, decoder_layers=2, feedforward=128),
        cluster=FrameQueryConfig(channels=128, heads=4, feedforward=128, encoder_layers=1, decoder_layers=1),
        queries=5,
    ),
    "demo": SOCConfig(  # the weights that the program ships
        backbone=VideoSwinConfig(
            channels=16, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8), window=(2, 6, 5), mlp_ratio=2.0, stochastic_depth=0.0
        ),
        text=DEMO_TEXT,
        transformer=DeformableConfig(
            channels=128,
            encoder_layers=1,
            decoder_layers=1,
            feedforward=256,
            encoder_points=2,
            decoder_points=2,
            dropout=0.0,
        ),
        cluster=FrameQueryConfig(
            channels=128, heads=4, feedforward=256, encoder_layers=1, decoder_layers=1, dropout=0.0
        ),
        queries=1,  # so its mask must follow the sentence; of several, training corrects the best one only
    ),
}
