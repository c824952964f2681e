"""UNINEXT for referring segmentation: takes one frame and some expressions, gives a scored mask for each expression.

Lin et al. 2023, "Universal Instance Perception as Object Discovery and Retrieval", as the ICCV 2023 RVOS entry runs
it. No part of the network looks at more than one frame. Letters: E expressions, S image tokens, Q queries,
C hidden channels, D text channels.
"""

from dataclasses import dataclass, replace

import torch
from program_kit.torch.precision import keep_float32
from torch import Tensor, nn

from uninext.backbone import FeaturePyramid, PyramidBackbone, build_backbone, flatten_levels
from uninext.config import LEVELS, UninextConfig
from uninext.deformable_transformer import Decoder, DecoderLayer, DecoderOutputs, Encoder, EncoderLayer, ProposalHead
from uninext.fusion import EarlyFusion, ImageFusionInputs
from uninext.geometry import FrameGeometry
from uninext.heads import DynamicMask, MaskFeatures, TextAgreement, pool_text
from uninext.text_encoder import EncodedText, TextEncoder


@dataclass(frozen=True, slots=True, eq=False)
class FrameFeatures:
    """What the network computes of a frame without any expression.

    Attributes:
        fusion: the image's half of early fusion.
        positions: [S, C] position encoding, of place and level.
        geometry: sizes and reference boxes.
    """

    fusion: ImageFusionInputs
    positions: Tensor
    geometry: FrameGeometry

    def of_frames(self, rows: Tensor) -> "FrameFeatures":
        """Of frames that were encoded together, those with these indices, int64 [E]: one for each expression."""
        inputs = (self.fusion.tokens, self.fusion.queries, self.fusion.values)
        return replace(self, fusion=ImageFusionInputs(*(tensor[rows] for tensor in inputs)))


@dataclass(frozen=True, slots=True, eq=False)
class QueryOutputs:
    """What the last decoder layer gives for every query and expression on one frame.

    Attributes:
        class_logits: [E, Q] agreement with the expression.
        iou_logits: [E, Q] predicted overlap of the query's mask with the ground truth.
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
    """The network; joins its parts and keeps nothing between frames.

    Args:
        config: its sizes.
        backbone: from a frame to maps at strides 8, 16, 32.
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
        self.proposals = keep_float32(ProposalHead(hidden_size, config.num_queries))  # it chooses among thousands
        decoder_layers = [DecoderLayer(*attention, config.decoder_points) for _ in range(config.decoder_layers)]
        self.decoder = Decoder(decoder_layers, hidden_size, config.num_queries)
        self.agreement = keep_float32(TextAgreement(hidden_size, text_hidden_size))  # these two choose the best query
        self.iou_head = keep_float32(nn.Linear(hidden_size, 1))
        self.mask_features = MaskFeatures(hidden_size, config.mask_channels)
        self.dynamic_mask = DynamicMask(hidden_size, config.mask_channels, config.mask_layers)

    def encode_text(self, input_ids: Tensor, padding_mask: Tensor) -> EncodedText:
        """Encode expressions once for all frames: ids int64 [E, N], padding_mask bool [E, N], True where padded."""
        return self.text_encoder(input_ids, padding_mask)

    def encode_frame(self, image: Tensor, geometry: FrameGeometry) -> FrameFeatures:
        """Encode a frame once for all expressions: [3, H, W] normalised and padded to `geometry.padded_size`."""
        return self._features(self._tokens(image[None])[0], geometry)

    def encode_frames(self, images: Tensor, geometry: FrameGeometry) -> FrameFeatures:
        """Encode F frames [F, 3, H, W] of one size together; F comes first in the shapes of what fusion takes."""
        return self._features(self._tokens(images), geometry)

    def _tokens(self, images: Tensor) -> Tensor:
        images = images.to(self.pyramid.level_codes.dtype)
        return flatten_levels(self.pyramid(list(self.backbone(images).values())))

    def _features(self, tokens: Tensor, geometry: FrameGeometry) -> FrameFeatures:
        return FrameFeatures(self.fusion.prepare_image(tokens), self.pyramid.position_encoding(geometry), geometry)

    def decode(self, frame: FrameFeatures, text: EncodedText) -> QueryOutputs:
        """Search one encoded frame for every expression; masks follow with `predict_masks`."""
        geometry = frame.geometry
        memory, words = self.fuse_and_encode(frame, text)
        proposals = self.proposals(memory, geometry)
        decoded = self.decoder(proposals.references, memory, geometry)
        return self.apply_heads(decoded, pool_text(words, text.padding_mask), memory, geometry)

    def fuse_and_encode(self, frame: FrameFeatures, text: EncodedText) -> tuple[Tensor, Tensor]:
        """Early fusion and encoder: memory [E, S, C] and fused words [E, N, D].

        On the CPU one expression follows the other: its maps then fit the cache, which is 1.1 times as fast as a batch.
        """
        if text.words.is_cuda or frame.fusion.tokens.ndim == 3:  # or each expression has its own frame
            return self.fuse_and_encode_batch(frame, text)
        parts = [self.fuse_and_encode_batch(frame, text[i : i + 1]) for i in range(len(text))]
        memory, words = (torch.cat(part) for part in zip(*parts, strict=True))
        return memory, words

    def fuse_and_encode_batch(self, frame: FrameFeatures, text: EncodedText) -> tuple[Tensor, Tensor]:
        """As `fuse_and_encode`, with all expressions in one batch."""
        tokens, words = self.fusion(frame.fusion, text.words, text.padding_mask)
        return self.encoder(tokens, frame.positions, frame.geometry), words

    def apply_heads(
        self, decoded: DecoderOutputs, pooled_text: Tensor, memory: Tensor, geometry: FrameGeometry
    ) -> QueryOutputs:
        """Apply the heads to the last decoder layer; masks are relative to the boxes that this layer started from."""
        queries = decoded.queries[-1]
        return QueryOutputs(
            class_logits=self.agreement(queries.float(), pooled_text.float()),
            iou_logits=self.iou_head(queries.float()).squeeze(-1),
            boxes=decoded.references[-1],
            queries=queries,
            centres=decoded.references[-2][..., :2] * geometry.extent,
            memory=memory,
            geometry=geometry,
        )

    def predict_masks(self, outputs: QueryOutputs, indices: Tensor) -> Tensor:
        """Mask logits [E, K, H/4, W/4] on the padded frame, of the queries with these indices, int64 [E, K]."""
        features = self.mask_features(outputs.geometry.split(outputs.memory)[:3])
        queries = outputs.queries.take_along_dim(indices[..., None], 1)
        centres = outputs.centres.take_along_dim(indices[..., None], 1)
        return self.dynamic_mask(queries, centres, features)


def build_uninext(config: UninextConfig) -> Uninext:
    """The network that a configuration describes, with random weights."""
    return Uninext(config, build_backbone(config.backbone))
