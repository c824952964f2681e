"""The network that ReferFormer and MUTR share. Each defines how its queries are initialised and finalized.

Video and text are encoded separately (`encode_video`, `encode_text`), so that all expressions share a video's features.
`decode` scores queries; `predict_masks` computes masks, for the queries that the caller selects.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from rvos_layers.blocks.deformable import DecodedQueries
from rvos_layers.blocks.heads import ClassHead, refine
from rvos_layers.encoders.text import TextEncoder, TextFeatures
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.encoders.video_features import VideoEncoder, VideoFeatures
from rvos_layers.grounded.config import GroundedConfig
from rvos_layers.grounded.masks import GroundedOutputs, MaskBranch
from rvos_layers.grounded.queries import GroundedQueries

MIN_SIDE = 32  # pixels; the coarse grid of the mask branch's frame attention would be empty for a smaller frame


class GroundedSegmenter(nn.Module, ABC):
    """Video and text encoders, grounded queries, class heads and mask branch.

    Args:
        config: sizes.
        fuse: how pixels take up what they attended to in the words, see `GroundedQueries`.

    Attributes:
        output_layer: decoder layer whose class head, boxes and centres are the output. The queries are always those of
            the last layer.
        faithful: training repeats what look like faults of the published training. Evaluation is always as published.
    """

    output_layer: ClassVar[int]

    def __init__(self, config: GroundedConfig, fuse: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.faithful = False
        hidden_size = config.transformer.hidden_size
        self.video = VideoEncoder(config.backbone, hidden_size, MIN_SIDE)
        self.text = TextEncoder(config.text, hidden_size)
        self.queries = GroundedQueries(config.transformer, config.queries, fuse)
        self.class_heads = nn.ModuleList(
            ClassHead(hidden_size, config.classes) for _ in range(config.transformer.decoder_layers)
        )
        self.masks = MaskBranch(config)

    @abstractmethod
    def query_init(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """What all queries of an expression are initialised with, [E, C]."""

    @abstractmethod
    def finalize_queries(self, states: Tensor) -> Tensor:
        """Make the queries that are scored and segmented, [E, T or 1, Q, C], from a decoder layer's, [E, T, Q, C]."""

    def encode_video(self, frames: Tensor, padding_mask: Tensor | None = None) -> VideoFeatures:
        """Everything that needs no text; arguments as in `VideoEncoder.forward`."""
        encode_padding = self.faithful or not self.training
        return self.video(frames, padding_mask, self.masks.decoder.prepare_fine, encode_padding=encode_padding)

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Everything that needs no video."""
        return self.text(tokens)

    def decode(self, video: VideoFeatures, text: TextFeatures) -> GroundedOutputs:
        """Decode and score the queries of E expressions about one clip, or about a clip each."""
        decoded = self.queries(video, text, self.query_init(video, text))
        layers = range(len(decoded.states))
        return self._outputs(decoded, layers[self.output_layer], layers[-1], video.frames)

    def decode_layers(self, video: VideoFeatures, text: TextFeatures) -> list[GroundedOutputs]:
        """As `decode`, the outputs of every decoder layer with its own queries: training has a loss for each."""
        decoded = self.queries(video, text, self.query_init(video, text))
        return [self._outputs(decoded, layer, layer, video.frames) for layer in range(len(decoded.states))]

    def _outputs(self, decoded: DecodedQueries, layer: int, query_layer: int, frames: int) -> GroundedOutputs:
        """Apply the heads of a layer to the queries of `query_layer`."""
        by_frame = (-1, frames)
        states = self.finalize_queries(decoded.states[query_layer].unflatten(0, by_frame))
        in_all_frames = (-1, frames, -1, -1)
        boxes = refine(decoded.reference_before(layer), self.queries.box_heads[layer](decoded.states[layer]))
        return GroundedOutputs(
            logits=self.class_heads[layer](states).expand(in_all_frames),
            boxes=boxes.unflatten(0, by_frame),
            states=states.expand(in_all_frames),
            centres=decoded.references[layer].unflatten(0, by_frame)[..., :2],
            memory=decoded.memory,
        )

    def predict_masks(self, video: VideoFeatures, text: TextFeatures, outputs: GroundedOutputs) -> Tensor:
        """Mask logits [E, T, Q, h, w] of all queries in `outputs`, at a quarter of the frames' size."""
        return self.masks(video, text, outputs)
