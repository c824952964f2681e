"""Sizes of the network, and the configurations one can choose by name."""

from dataclasses import dataclass, replace

from rvos_layers.blocks.config import FrameQueryConfig
from rvos_layers.grounded.config import GroundedConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class MUTRConfig(GroundedConfig):
    """Sizes of MUTR: those of ReferFormer, and of the exchange between frames.

    Attributes:
        window: frames whose queries exchange directly.
        interaction_layers: of the encoder, and of the decoder, of that exchange.
        interaction_heads: attention heads there.
        interaction_dropout: probability there, in training.
    """

    window: int = 4
    interaction_layers: int = 3
    interaction_heads: int = 8
    interaction_dropout: float = 0.2

    @property
    def interaction(self) -> FrameQueryConfig:
        """Sizes of the temporal interaction; widths are the transformer's."""
        return FrameQueryConfig(
            channels=self.transformer.channels,
            heads=self.interaction_heads,
            feedforward=self.transformer.feedforward,
            encoder_layers=self.interaction_layers,
            decoder_layers=self.interaction_layers,
            window=self.window,
            dropout=self.interaction_dropout,
        )


CONFIGS = MUTRConfig.named()
CONFIGS["demo"] = replace(CONFIGS["demo"], interaction_layers=1, interaction_dropout=0.0)
DEFAULT_CONFIG = "video-swin-b"  # the member of the ensemble
