"""What ReferFormer and MUTR are made of; each says what its queries start from and what becomes of them.

What depends on the video alone or on the sentence alone is computed by itself (`encode_video`, `encode_text`), so
that all sentences about a video share the first. `find` scores queries, `draw` makes masks: only for the queries
one wants.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from rvos_layers.blocks.deformable import DecodedQueries
from rvos_layers.blocks.heads import class_head, refine
from rvos_layers.encoders.text import TextEncoder, TextFeatures
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.encoders.video_features import VideoEncoder, VideoFeatures
from rvos_layers.grounded.config import GroundedConfig
from rvos_layers.grounded.masks import GroundedFindings, MaskBranch
from rvos_layers.grounded.queries import GroundedQueries

SHORTEST_SIDE = 32  # pixels; of a smaller frame the pixel decoder's pooled attention would leave nothing


class GroundedSegmenter(nn.Module, ABC):
    """Video and text encoders, queries grounded in both, class heads and mask branch.

    Args:
        config: sizes.
        fuse: how pixels take up what they read in the words, see `GroundedQueries`.

    Attributes:
        answering_layer: the decoder layer whose heads, boxes and centres answer; the queries are always the last ones.
        faithful: training repeats what looks like faults of the published one. Evaluation is always as published.
    """

    answering_layer: ClassVar[int]

    def __init__(self, config: GroundedConfig, fuse: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.faithful = False
        channels = config.transformer.channels
        self.video = VideoEncoder(config.backbone, channels, SHORTEST_SIDE)
        self.text = TextEncoder(config.text, channels)
        self.queries = GroundedQueries(config.transformer, config.queries, fuse)
        self.class_heads = nn.ModuleList(
            class_head(channels, config.classes) for _ in range(config.transformer.decoder_layers)
        )
        self.masks = MaskBranch(config)

    @abstractmethod
    def content(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """What all queries of a sentence start from, [E, C]."""

    @abstractmethod
    def conclude(self, states: Tensor) -> Tensor:
        """The queries that are scored and drawn, [E, T or 1, Q, C], of those of a decoder layer, [E, T, Q, C]."""

    def encode_video(self, frames: Tensor, padding_mask: Tensor | None = None) -> VideoFeatures:
        """Everything that needs no sentence; arguments as in `VideoEncoder.forward`."""
        code_padding = self.faithful or not self.training
        return self.video(frames, padding_mask, self.masks.decoder.prepare, code_padding=code_padding)

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Everything that needs no video."""
        return self.text(tokens)

    def find(self, video: VideoFeatures, text: TextFeatures) -> GroundedFindings:
        """Look for what E sentences mean in one clip, or each in a clip of its own."""
        decoded = self.queries(video, text, self.content(video, text))
        layers = range(len(decoded.states))
        return self._found_by(layers[self.answering_layer], decoded, layers[-1], video.frames)

    def find_by_layer(self, video: VideoFeatures, text: TextFeatures) -> list[GroundedFindings]:
        """As `find`, what every decoder layer says with queries of its own: training corrects them all."""
        decoded = self.queries(video, text, self.content(video, text))
        return [self._found_by(layer, decoded, layer, video.frames) for layer in range(len(decoded.states))]

    def _found_by(self, layer: int, decoded: DecodedQueries, speaking: int, frames: int) -> GroundedFindings:
        """What the heads of a layer make of the queries of the layer `speaking`."""
        by_frame = (-1, frames)
        states = self.conclude(decoded.states[speaking].unflatten(0, by_frame))
        in_all_frames = (-1, frames, -1, -1)
        boxes = refine(decoded.reference_into(layer), self.queries.box_heads[layer](decoded.states[layer]))
        return GroundedFindings(
            logits=self.class_heads[layer](states).expand(in_all_frames),
            boxes=boxes.unflatten(0, by_frame),
            states=states.expand(in_all_frames),
            centres=decoded.references[layer].unflatten(0, by_frame)[..., :2],
            memory=decoded.memory,
        )

    def draw(self, video: VideoFeatures, text: TextFeatures, found: GroundedFindings) -> Tensor:
        """Mask logits [E, T, Q, h, w] of all queries in `found`, at a quarter of the frames' size."""
        return self.masks(video, text, found)
