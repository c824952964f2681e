"""What ReferFormer and MUTR are made of; each of them says how it finds.

What depends on the video alone or on the sentence alone is computed by itself (`encode_video`, `encode_text`), so
that all sentences about a video share the first. `find` scores queries, `draw` makes masks: only for the queries
one wants.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from rvos_layers.grounded_config import GroundedConfig
from rvos_layers.grounded_queries import GroundedQueries
from rvos_layers.mask_branch import GroundedFindings, MaskBranch
from rvos_layers.text_encoder import TextEncoder, TextFeatures
from rvos_layers.tokenizer import Tokens
from rvos_layers.video_features import VideoEncoder, VideoFeatures

SHORTEST_SIDE = 32  # pixels; of a smaller frame the pixel decoder's pooled attention would leave nothing


class GroundedSegmenter(nn.Module, ABC):
    """Video and text encoders, queries grounded in both, class heads and mask branch.

    Args:
        config: sizes.
        fuse: how pixels take up what they read in the words, see `GroundedQueries`.
    """

    def __init__(self, config: GroundedConfig, fuse: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        channels = config.transformer.channels
        self.video = VideoEncoder(config.backbone, channels, SHORTEST_SIDE)
        self.text = TextEncoder(config.text, channels)
        self.queries = GroundedQueries(config.transformer, config.queries, fuse)
        self.class_heads = nn.ModuleList(
            nn.Linear(channels, config.classes) for _ in range(config.transformer.decoder_layers)
        )
        self.masks = MaskBranch(config)

    def encode_video(self, frames: Tensor, padding_mask: Tensor | None = None) -> VideoFeatures:
        """Everything that needs no sentence; arguments as in `VideoEncoder.forward`."""
        return self.video(frames, padding_mask, self.masks.decoder.prepare)

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Everything that needs no video."""
        return self.text(tokens)

    @abstractmethod
    def find(self, video: VideoFeatures, text: TextFeatures) -> GroundedFindings:
        """Look for what E sentences mean in one clip, or each in a clip of its own."""

    def draw(self, video: VideoFeatures, text: TextFeatures, found: GroundedFindings) -> Tensor:
        """Mask logits [E, T, Q, h, w] of all queries in `found`, at a quarter of the frames' size."""
        return self.masks(video, text, found)
