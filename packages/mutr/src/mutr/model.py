"""MUTR: ReferFormer with exchange over time, of the words before decoding and of the queries after it.

Source: Yan et al., "Referred by Multi-Modality: A Unified Temporal Transformer for Video Object Segmentation", AAAI
2024, figure 2; `models/mutr.py` of OpenGVLab/MUTR. What is shared with ReferFormer stands in rvos_layers.
"""

import torch
from rvos_layers.grounded_segmenter import GroundedSegmenter
from rvos_layers.mask_branch import GroundedFindings
from rvos_layers.text_encoder import TextFeatures
from rvos_layers.video_features import VideoFeatures

from mutr.config import MUTRConfig
from mutr.temporal_aggregation import TemporalAggregation
from mutr.temporal_interaction import TemporalInteraction

ANSWERING_LAYER = 0


class MUTR(GroundedSegmenter):
    """What pixels read is added to them; queries start from a sentence that has seen the video; the clip answers.

    The published code keeps one level of clip queries in evaluation, made from the last decoder layer, and pairs it
    with the *first* layer's class head, boxes and reference centres. Published figures were obtained this way, so
    it is done here.
    """

    def __init__(self, config: MUTRConfig) -> None:
        super().__init__(config, fuse=torch.add)
        transformer = config.transformer
        self.aggregation = TemporalAggregation(transformer.channels, transformer.feedforward, transformer.dropout)
        self.interaction = TemporalInteraction(config.interaction, config.queries)

    def find(self, video: VideoFeatures, text: TextFeatures) -> GroundedFindings:
        """Look for what E sentences mean in one clip, or each in a clip of its own."""
        *_, words = self.aggregation(video, text)
        decoded = self.queries(video, text, words[:, 0])  # the word <s> speaks for the sentence
        by_frame = (len(text), video.frames)
        clip_queries = self.interaction(decoded.states[-1].unflatten(0, by_frame))
        boxes = decoded.references[ANSWERING_LAYER].unflatten(0, by_frame)
        in_all_frames = (-1, video.frames, -1, -1)
        return GroundedFindings(
            logits=self.class_heads[ANSWERING_LAYER](clip_queries)[:, None].expand(in_all_frames),
            boxes=boxes,
            states=clip_queries[:, None].expand(in_all_frames),
            centres=boxes[..., :2],
            memory=decoded.memory,
        )
