"""ReferFormer: the expression itself is the query that finds its object in every frame.

Source: Wu et al., "Language as Queries for Referring Video Object Segmentation", CVPR 2022, figure 2;
`models/referformer.py` of wjn922/ReferFormer. The parts are shared with MUTR and are in `rvos_layers.grounded`; this
module has what differs.
"""

import torch
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.grounded.segmenter import GroundedSegmenter
from torch import Tensor

from referformer.config import ReferFormerConfig


class ReferFormer(GroundedSegmenter):
    """Pixels are multiplied by what they attend to in the words, the sentence vector initialises all queries, and the
    output is that of the last decoder layer."""

    output_layer = -1

    def __init__(self, config: ReferFormerConfig) -> None:
        super().__init__(config, fuse=torch.mul)

    def query_init(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """The sentence vector."""
        return text.sentence

    def finalize_queries(self, states: Tensor) -> Tensor:
        """The queries of each frame, unchanged."""
        return states
