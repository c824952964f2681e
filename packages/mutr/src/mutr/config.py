"""Sizes of the network, and its configurations by name."""

from dataclasses import dataclass, replace

from rvos_layers.blocks.config import FrameQueryConfig
from rvos_layers.grounded.config import GroundedConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class MUTRConfig(GroundedConfig):
    """Sizes of MUTR: those of ReferFormer, and those of the temporal interaction.

    Attributes:
        window: frames whose queries attend to each other directly.
        interaction_layers: layers of the temporal interaction's encoder, and of its decoder.
        interaction_num_heads: its attention heads.
        interaction_dropout: probability, in training.
    """

    window: int = 4
    interaction_layers: int = 3
    interaction_num_heads: int = 8
    interaction_dropout: float = 0.2

    @property
    def interaction(self) -> FrameQueryConfig:
        """Sizes of the temporal interaction; it is as wide as the transformer."""
        return FrameQueryConfig(
            hidden_size=self.transformer.hidden_size,
            num_heads=self.interaction_num_heads,
            feedforward_dim=self.transformer.feedforward_dim,
            encoder_layers=self.interaction_layers,
            decoder_layers=self.interaction_layers,
            window=self.window,
            dropout=self.interaction_dropout,
        )


CONFIGS = MUTRConfig.named()
CONFIGS["demo"] = replace(CONFIGS["demo"], interaction_layers=1, interaction_dropout=0.0)
