"""MUTR: ReferFormer with exchange over time, of the words before decoding and of the queries after it.

Source: Yan et al., "Referred by Multi-Modality: A Unified Temporal Transformer for Video Object Segmentation", AAAI
2024, figure 2; `models/mutr.py` of OpenGVLab/MUTR. What is shared with ReferFormer stands in rvos_layers.
"""

import torch
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.grounded.segmenter import GroundedSegmenter
from torch import Tensor

from mutr.config import MUTRConfig
from mutr.temporal_aggregation import TemporalAggregation
from mutr.temporal_interaction import TemporalInteraction


class MUTR(GroundedSegmenter):
    """What pixels read is added to them; queries start from a sentence that has seen the video; the clip answers.

    The published code keeps one level of clip queries in evaluation, made from the last decoder layer, and pairs it
    with the *first* layer's class head, boxes and reference centres. Published figures were obtained this way, so
    it is done here.
    """

    answering_layer = 0

    def __init__(self, config: MUTRConfig) -> None:
        super().__init__(config, fuse=torch.add)
        transformer = config.transformer
        self.aggregation = TemporalAggregation(transformer.channels, transformer.feedforward, transformer.dropout)
        self.interaction = TemporalInteraction(config.interaction, config.queries)
        pooler = self.text.roberta.pooler  # makes the sentence vector, which nobody hears: it never gets a gradient,
        assert pooler is not None
        pooler.requires_grad_(False)  # for which several processes would wait

    def content(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """The word <s>, which speaks for the sentence, after all words have seen the video."""
        *_, words = self.aggregation(video, text)
        return words[:, 0]

    def conclude(self, states: Tensor) -> Tensor:
        """Queries of the whole clip, the same in all frames."""
        if self.training and self.faithful:
            return self._conclude_mixed_up(states)
        return self.interaction(states)[:, None]

    def _conclude_mixed_up(self, states: Tensor) -> Tensor:
        """As published in training: windows never shift, and with several clips in a batch, frames are dealt out to
        the clips as cards are, both before the exchange and when its results go back."""
        clips, frames = states.shape[:2]
        dealt = states.transpose(0, 1).reshape(states.shape)
        results = self.interaction(dealt, shifts=False)
        return results.repeat(frames, 1, 1).unflatten(0, (clips, frames))
