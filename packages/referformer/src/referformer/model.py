"""ReferFormer: the sentence itself is the query that looks for its object in every frame.

Source: Wu et al., "Language as Queries for Referring Video Object Segmentation", CVPR 2022, figure 2;
`models/referformer.py` of wjn922/ReferFormer. The parts are shared with MUTR and stand in rvos_layers; here is how
ReferFormer joins them.
"""

import torch
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.grounded.segmenter import GroundedSegmenter
from torch import Tensor

from referformer.config import ReferFormerConfig


class ReferFormer(GroundedSegmenter):
    """Pixels are multiplied by what they read; all queries start from the sentence; the last decoder layer
    answers."""

    answering_layer = -1

    def __init__(self, config: ReferFormerConfig) -> None:
        super().__init__(config, fuse=torch.mul)

    def content(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """The sentence."""
        return text.sentence

    def conclude(self, states: Tensor) -> Tensor:
        """Every frame's queries speak for themselves."""
        return states
