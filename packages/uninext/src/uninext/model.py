"""UNINEXT for referring segmentation: one frame and some expressions in, a scored mask for each expression out.

Lin et al. 2023, "Universal Instance Perception as Object Discovery and Retrieval", as run by the ICCV 2023 RVOS
entry. No part of the network looks at more than one frame. Letters: E expressions, S image tokens, Q queries,
C hidden channels, D text channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uninext.backbone import FeaturePyramid, PyramidBackbone, build_backbone, flatten_levels
from uninext.config import LEVELS, UninextConfig
from uninext.deformable_transformer import Decoded, Decoder, DecoderLayer, Encoder, EncoderLayer, ProposalHead
from uninext.fusion import EarlyFusion, FusionImage
from uninext.geometry import FrameGeometry
from uninext.heads import DynamicMask, MaskFeatures, TextAgreement, pool_text
from uninext.text_encoder import EncodedText, TextEncoder


@dataclass(frozen=True, slots=True, eq=False)
class FrameFeatures:
    """What is known of a frame before any expression is read.

    Attributes:
        fusion: the image's part in early fusion.
        positions: [S, C] position and level codes.
        geometry: sizes and reference boxes.
    """

    fusion: FusionImage
    positions: Tensor
    geometry: FrameGeometry


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Every query's answer to each expression on one frame.

    Attributes:
        class_logits: [E, Q] agreement with the expression.
        iou_logits: [E, Q] predicted overlap of the query's mask with the truth.
        boxes: [E, Q, 4] (cx, cy, w, h) in 0..1 of the unpadded frame.
        queries: [E, Q, C] after the last decoder layer.
        centres: [E, Q, 2] (x, y) that mask coordinates are relative to, in pixels of the resized frame.
        memory: [E, S, C].
        geometry: of the frame.
    """

    class_logits: Tensor
    iou_logits: Tensor
    boxes: Tensor
    queries: Tensor
    centres: Tensor
    memory: Tensor
    geometry: FrameGeometry


class Uninext(nn.Module):
    """The network; it joins its parts and remembers nothing between frames.

    Args:
        config: the numbers.
        backbone: frame to maps at strides 8, 16, 32.
    """

    def __init__(self, config: UninextConfig, backbone: PyramidBackbone) -> None:
        super().__init__()
        hidden_size, text_hidden_size = config.hidden_size, config.text.hidden_size
        attention = (hidden_size, config.feedforward_dim, LEVELS, config.num_heads)
        self.config = config
        self.text_encoder = TextEncoder(config.text)
        self.backbone = backbone
        self.pyramid = FeaturePyramid(backbone.channels, hidden_size)
        self.fusion = EarlyFusion(hidden_size, text_hidden_size, config.fusion_hidden_size, config.fusion_num_heads)
        self.encoder = Encoder(EncoderLayer(*attention, config.encoder_points) for _ in range(config.encoder_layers))
        self.proposals = ProposalHead(hidden_size, config.num_queries)
        decoder_layers = [DecoderLayer(*attention, config.decoder_points) for _ in range(config.decoder_layers)]
        self.decoder = Decoder(decoder_layers, hidden_size, config.num_queries)
        self.agreement = TextAgreement(hidden_size, text_hidden_size)
        self.iou_head = nn.Linear(hidden_size, 1)
        self.mask_features = MaskFeatures(hidden_size, config.mask_channels)
        self.dynamic_mask = DynamicMask(hidden_size, config.mask_channels, config.mask_layers)

    def encode_text(self, input_ids: Tensor, padding_mask: Tensor) -> EncodedText:
        """Encode expressions once for all frames: ids int64 [E, N], padding_mask bool [E, N], True where padded."""
        return self.text_encoder(input_ids, padding_mask)

    def encode_frame(self, image: Tensor, geometry: FrameGeometry) -> FrameFeatures:
        """Encode a frame once for all expressions: [3, H, W] normalised and padded to `geometry.padded_size`."""
        return self._features(self._tokens(image[None])[0], geometry)

    def encode_frames(self, images: Tensor, geometry: FrameGeometry) -> FrameFeatures:
        """Encode E frames [E, 3, H, W] of one size, each for an expression of its own; for training."""
        return self._features(self._tokens(images), geometry)

    def _tokens(self, images: Tensor) -> Tensor:
        return flatten_levels(self.pyramid(list(self.backbone(images).values())))

    def _features(self, tokens: Tensor, geometry: FrameGeometry) -> FrameFeatures:
        return FrameFeatures(self.fusion.prepare_image(tokens), self.pyramid.positions(geometry), geometry)

    def candidates(self, frame: FrameFeatures, text: EncodedText) -> Candidates:
        """Search one frame for every expression."""
        geometry = frame.geometry
        memory, words = self.read(frame, text)
        proposals = self.proposals(memory, geometry)
        decoded = self.decoder(proposals.references, memory, geometry)
        return self.judge(decoded, pool_text(words, text.padding_mask), memory, geometry)

    def read(self, frame: FrameFeatures, text: EncodedText) -> tuple[Tensor, Tensor]:
        """The frame as each expression makes it seen: memory [E, S, C] and fused words [E, N, D].

        On a processor one expression after the other, whose maps stay in its cache: 1.1 times as fast as in a batch.
        """
        at_once = len(text) if text.words.is_cuda else 1
        parts = [self.read_at_once(frame, text[start : start + at_once]) for start in range(0, len(text), at_once)]
        memory, words = (torch.cat(part) for part in zip(*parts, strict=True))
        return memory, words

    def read_at_once(self, frame: FrameFeatures, text: EncodedText) -> tuple[Tensor, Tensor]:
        """As `read`, all expressions in one batch."""
        tokens, words = self.fusion(frame.fusion, text.words, text.padding_mask)
        return self.encoder(tokens, frame.positions, frame.geometry), words

    def judge(self, decoded: Decoded, pooled_text: Tensor, memory: Tensor, geometry: FrameGeometry) -> Candidates:
        """Read the last decoder layer's queries; masks are relative to the boxes that this layer started from."""
        queries = decoded.queries[-1]
        height, width = geometry.image_size
        return Candidates(
            class_logits=self.agreement(queries, pooled_text),
            iou_logits=self.iou_head(queries).squeeze(-1),
            boxes=decoded.references[-1],
            queries=queries,
            centres=decoded.references[-2][..., :2] * queries.new_tensor([width, height]),
            memory=memory,
            geometry=geometry,
        )

    def mask_logits(self, candidates: Candidates, chosen: Tensor) -> Tensor:
        """Mask logits [E, K, H/4, W/4] on the padded frame of the queries `chosen`, int64 [E, K]."""
        features = self.mask_features(candidates.geometry.split(candidates.memory)[:3])
        queries = candidates.queries.take_along_dim(chosen[..., None], 1)
        centres = candidates.centres.take_along_dim(chosen[..., None], 1)
        return self.dynamic_mask(queries, centres, features)


def build_uninext(config: UninextConfig) -> Uninext:
    """The network that a configuration describes, with random weights."""
    return Uninext(config, build_backbone(config.backbone))
