"""MUTR: ReferFormer with attention over time, of the words before decoding and of the queries after it.

Source: Yan et al., "Referred by Multi-Modality: A Unified Temporal Transformer for Video Object Segmentation", AAAI
2024, figure 2; `models/mutr.py` of OpenGVLab/MUTR. What it shares with ReferFormer is in `rvos_layers.grounded`.
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
    """What pixels attend to in the words is added to them, the queries are initialised with a sentence vector that has
    attended to the video, and the output is that of queries for the whole clip.

    In evaluation the published code makes one level of clip queries, from the last decoder layer, and pairs it with the
    *first* layer's class head, boxes and reference centres. Published figures were obtained this way, so it is done
    here.
    """

    output_layer = 0

    def __init__(self, config: MUTRConfig) -> None:
        super().__init__(config, fuse=torch.add)
        transformer = config.transformer
        self.aggregation = TemporalAggregation(
            transformer.hidden_size, transformer.feedforward_dim, transformer.dropout
        )
        self.interaction = TemporalInteraction(config.interaction, config.queries)
        # MUTR does not use RoBERTa's sentence vector. Its pooler never gets a gradient, and distributed training would
        # wait for one.
        self.text.roberta.pooler.requires_grad_(False)

    def query_init(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """The token <s>, which stands for the sentence, after all words have attended to the video."""
        *_, words = self.aggregation(video, text)
        return words[:, 0]

    def finalize_queries(self, states: Tensor) -> Tensor:
        """Queries of the whole clip, the same in all frames."""
        if self.training and self.faithful:
            return self._finalize_mixed_clips(states)
        return self.interaction(states)[:, None]

    def _finalize_mixed_clips(self, states: Tensor) -> Tensor:
        """As in the published training: windows never shift, and the frames of a batch of several clips are assigned to
        the wrong clips, both before the interaction and after it."""
        clips, frames = states.shape[:2]
        mixed = states.transpose(0, 1).reshape(states.shape)
        clip_queries = self.interaction(mixed, shifts=False)
        return clip_queries.repeat(frames, 1, 1).unflatten(0, (clips, frames))
