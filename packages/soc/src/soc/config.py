"""Sizes of the network, and its configurations by name."""

from dataclasses import dataclass, field

from rvos_layers.blocks.config import DeformableConfig, FrameQueryConfig
from rvos_layers.encoders.config import BACKBONES, DEMO_TEXT, BackboneConfig, TextConfig, VideoSwinConfig

NORM_GROUPS = 8  # of the mask features
WIDTH_UNIT = 16 * NORM_GROUPS  # the narrowest step of the mask features has a sixteenth of the width, in these groups


@dataclass(frozen=True, kw_only=True, slots=True)
class SOCConfig:
    """Sizes of the network; the defaults are those of the published model.

    Attributes:
        backbone: Video-Swin.
        text: RoBERTa.
        transformer: the deformable transformer.
        cluster: the object cluster.
        queries: object queries of a frame, and of the clip.
        classes: logits per query; the published model has one, "is it the object".
        mask_channels: width of the mask features.
        dynamic_channels: width between a query's own convolutions.
        dynamic_layers: number of these convolutions.
    """

    backbone: BackboneConfig = BACKBONES["video-swin-b"]
    text: TextConfig = field(default_factory=TextConfig)
    transformer: DeformableConfig = field(default_factory=lambda: DeformableConfig(encoder_layers=3, decoder_layers=3))
    cluster: FrameQueryConfig = field(default_factory=lambda: FrameQueryConfig(hidden_size=256))
    queries: int = 20
    classes: int = 1
    mask_channels: int = 8
    dynamic_channels: int = 8
    dynamic_layers: int = 3

    def __post_init__(self) -> None:
        if self.cluster.hidden_size != self.hidden_size:
            raise ValueError(
                f"hidden_size of the object cluster ({self.cluster.hidden_size}) and of the transformer "
                f"({self.hidden_size}) must be equal"
            )
        if self.hidden_size % WIDTH_UNIT:
            raise ValueError(f"hidden_size must be a multiple of {WIDTH_UNIT}, not {self.hidden_size}")

    @property
    def hidden_size(self) -> int:
        """Width of tokens, words and queries."""
        return self.transformer.hidden_size


CONFIGS = {
    "joint-base": SOCConfig(),  # the member of the ensemble: joint_base.tar
    "tiny": SOCConfig(  # for tests; there are no trained weights of this size
        backbone=VideoSwinConfig(
            hidden_size=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window=(2, 3, 3), mlp_ratio=2.0
        ),
        text=TextConfig(vocab_size=320, hidden_size=48, layers=2, num_heads=4, feedforward_dim=64, positions=514),
        transformer=DeformableConfig(
            hidden_size=128, num_heads=4, encoder_layers=1, decoder_layers=2, feedforward_dim=128
        ),
        cluster=FrameQueryConfig(hidden_size=128, num_heads=4, feedforward_dim=128, encoder_layers=1, decoder_layers=1),
        queries=5,
    ),
    "demo": SOCConfig(  # of the bundled weights
        backbone=VideoSwinConfig(
            hidden_size=16,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 4, 8),
            window=(2, 6, 5),
            mlp_ratio=2.0,
            stochastic_depth=0.0,
        ),
        text=DEMO_TEXT,
        transformer=DeformableConfig(
            hidden_size=128,
            encoder_layers=1,
            decoder_layers=1,
            feedforward_dim=256,
            encoder_points=2,
            decoder_points=2,
            dropout=0.0,
        ),
        cluster=FrameQueryConfig(
            hidden_size=128, num_heads=4, feedforward_dim=256, encoder_layers=1, decoder_layers=1, dropout=0.0
        ),
        queries=1,  # of several, training corrects only the best, and the masks need not follow the expression
    ),
}
