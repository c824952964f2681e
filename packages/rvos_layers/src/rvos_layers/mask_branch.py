"""From object queries to masks: a query's own small convolutions over mask features that have read the words.

The same in ReferFormer and MUTR. Masks are drawn only for the queries asked for, and while the mask features of a
few frames exist; nobody ever holds those of a whole video.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from rvos_layers.cross_modal_decoder import CrossModalDecoder
from rvos_layers.dynamic_masks import DynamicMaskHead
from rvos_layers.grounded_config import GroundedConfig
from rvos_layers.mlp import MLP
from rvos_layers.text_encoder import TextFeatures
from rvos_layers.video_features import VideoFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundQueries:
    """Where the queries think the referred objects are, before any mask is drawn: E sentences, T frames, Q queries.

    Attributes:
        logits: [E, T, Q, K], how surely a query is on the object.
        boxes: [E, T, Q, 4] as (cx, cy, w, h) in fractions of the frame.
        states: [E, T, Q, C], from which masks are drawn.
        centres: [E, T, Q, 2], to which masks are relative, in fractions of the frame.
        memory: encoder output [E*T, C, h, w] for strides 8, 16 and 32.
    """

    logits: Tensor
    boxes: Tensor
    states: Tensor
    centres: Tensor
    memory: list[Tensor]

    def keep(self, queries: Tensor) -> Self:
        """Only one query for each sentence, int64[E]."""
        each = torch.arange(len(queries), device=queries.device)
        kept = {name: getattr(self, name)[each, :, queries, None] for name in ("logits", "boxes", "states", "centres")}
        return replace(self, **kept)


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
        self.controller = MLP(channels, channels, channels, self.head.parameter_count)

    def forward(self, video: VideoFeatures, text: TextFeatures, found: FoundQueries) -> Tensor:
        """Draw the masks of all queries in `found`.

        Returns:
            mask logits [E, T, Q, h, w] at stride 4.
        """
        states = found.states.flatten(0, 1)
        centres = (found.centres * video.sizes[:, None, None]).flatten(0, 1)
        masks = [
            self.head(maps, self.controller(states[some.numbers]), centres[some.numbers], made_by=self.decoder.output)
            for some, maps in self.decoder(video, text, found.memory)
        ]
        return torch.cat(masks).unflatten(0, found.states.shape[:2])
