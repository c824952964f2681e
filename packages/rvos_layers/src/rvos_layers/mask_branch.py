"""From object queries to masks: a query's own small convolutions over mask features that have read the words.

The same in ReferFormer and MUTR. Masks are drawn only for the queries asked for, and while the mask features of a
few frames exist; nobody holds those of a whole video. Training does hold those of its short clips, as the queries of
every decoder layer are drawn on them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rvos_layers.cross_modal_decoder import CrossModalDecoder
from rvos_layers.dynamic_masks import DynamicMaskHead
from rvos_layers.found_queries import FoundQueries
from rvos_layers.grounded_config import GroundedConfig
from rvos_layers.query_heads import mask_controller
from rvos_layers.text_encoder import TextFeatures
from rvos_layers.video_features import VideoFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundedFindings(FoundQueries):
    """Found queries, and what the pixel decoder needs of the encoder.

    Attributes:
        memory: encoder output [E*T, C, h, w] for strides 8, 16 and 32.
    """

    memory: list[Tensor]


class MaskBranch(nn.Module):
    """Pixel decoder, controller and dynamic mask head."""

    def __init__(self, config: GroundedConfig) -> None:
        super().__init__()
        channels = config.transformer.channels
        self.decoder = CrossModalDecoder(
            config.backbone.stage_channels[0],
            channels,
            config.mask_channels,
            config.transformer.feedforward,
            config.transformer.dropout,
        )
        self.head = DynamicMaskHead(
            feature_channels=config.mask_channels,
            hidden_channels=config.dynamic_channels,
            layers=config.dynamic_layers,
        )
        self.controller = mask_controller(channels, self.head.parameter_count)

    def forward(self, video: VideoFeatures, text: TextFeatures, found: GroundedFindings) -> Tensor:
        """Draw the masks of all queries in `found`.

        Returns:
            mask logits [E, T, Q, h, w] at stride 4.
        """
        states, centres = found.by_question(video.sizes)
        masks = [
            self.head(maps, self.controller(states[some.numbers]), centres[some.numbers], made_by=self.decoder.output)
            for some, maps in self.decoder(video, text, found.memory)
        ]
        return torch.cat(masks).unflatten(0, found.states.shape[:2])

    def features(self, video: VideoFeatures, text: TextFeatures, memory: list[Tensor]) -> Tensor:
        """Mask features [E*T, F, h, w] of all frames at once, for those who draw on them again and again (training)."""
        return torch.cat([self.decoder.output(maps) for _, maps in self.decoder(video, text, memory)])

    def draw_on(self, features: Tensor, video: VideoFeatures, found: FoundQueries) -> Tensor:
        """As `forward`, on mask features that are there already."""
        states, centres = found.by_question(video.sizes)
        return self.head(features, self.controller(states), centres).unflatten(0, found.states.shape[:2])
