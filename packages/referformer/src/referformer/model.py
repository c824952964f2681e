"""ReferFormer: the sentence itself is the query that looks for its object in every frame.

Source: Wu et al., "Language as Queries for Referring Video Object Segmentation", CVPR 2022, figure 2;
`models/referformer.py` of wjn922/ReferFormer. The parts are shared with MUTR and stand in rvos_layers; here is how
ReferFormer joins them.
"""

import torch
from rvos_layers.grounded_segmenter import GroundedSegmenter
from rvos_layers.mask_branch import GroundedFindings
from rvos_layers.text_encoder import TextFeatures
from rvos_layers.video_features import VideoFeatures

from referformer.config import ReferFormerConfig


class ReferFormer(GroundedSegmenter):
    """Pixels are multiplied by what they read; all queries start from the sentence; the last decoder layer
    answers."""

    def __init__(self, config: ReferFormerConfig) -> None:
        super().__init__(config, fuse=torch.mul)

    def find(self, video: VideoFeatures, text: TextFeatures) -> GroundedFindings:
        """Look for what E sentences mean in one clip, or each in a clip of its own."""
        decoded = self.queries(video, text, text.sentence)
        by_frame = (len(text), video.frames)
        states = decoded.states[-1].unflatten(0, by_frame)
        boxes = decoded.references[-1].unflatten(0, by_frame)
        return GroundedFindings(
            logits=self.class_heads[-1](states),
            boxes=boxes,
            states=states,
            centres=boxes[..., :2],
            memory=decoded.memory,
        )
