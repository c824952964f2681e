"""SOC: frame queries are gathered into clip queries, which tell each frame's queries about the whole video.

Source: Luo et al., "SOC: Semantic-Assisted Object Cluster for Referring Video Object Segmentation", NeurIPS 2023,
figure 2; `models/soc.py` of RobertLuo1/NeurIPS2023_SOC, called MTTR in the challenge code.

Shapes: E expressions, T frames, Q queries, C channels, h x w the frames at stride 4.
"""

from dataclasses import dataclass, replace

import torch
from program_kit.torch.memory import rows_at_once
from rvos_layers.blocks.deformable import DecodedQueries
from rvos_layers.blocks.dynamic_masks import DynamicMaskHead
from rvos_layers.blocks.frame_query import FrameQueryTransformer
from rvos_layers.blocks.heads import ClassHead, QueryOutputs, mask_controller, refine
from rvos_layers.chunks import chunk_slices
from rvos_layers.encoders.text import TextEncoder, TextFeatures
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.encoders.video_features import FrameTextPairs, VideoEncoder, VideoFeatures
from rvos_layers.grounded.queries import GroundedQueries
from torch import Tensor, nn

from soc.config import SOCConfig
from soc.mask_features import MaskFeatures
from soc.word_alignment import WordAlignment

# In evaluation the published code keeps one level of cluster output, made from the last decoder layer, and pairs it
# with the *first* layer's states, heads and reference points. Every published figure was obtained this way, so the
# output comes from layer 0 here too. Later layers still run, because the cluster takes the last one's states; their
# heads do not.
OUTPUT_LAYER = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SOCOutputs(QueryOutputs):
    """Scored queries, and what their masks are made from.

    Attributes:
        mask_features: [E*T, mask channels, h, w].
        clip_queries: [E, Q, C], output of the object cluster.
    """

    mask_features: Tensor
    clip_queries: Tensor


class SOC(nn.Module):
    """The network. It encodes video and text separately, so that all expressions share a video's features."""

    def __init__(self, config: SOCConfig) -> None:
        super().__init__()
        hidden_size = config.hidden_size
        layers = range(config.transformer.decoder_layers)
        self.video = VideoEncoder(config.backbone, hidden_size)
        self.text = TextEncoder(config.text, hidden_size)
        self.queries = GroundedQueries(config.transformer, config.queries, fuse=torch.mul)
        self.cluster = FrameQueryTransformer(config.cluster, config.queries)
        self.class_heads = nn.ModuleList(ClassHead(hidden_size, config.classes) for _ in layers)
        self.mask_features = MaskFeatures(config.backbone.stage_channels[0], hidden_size, config.mask_channels)
        self.mask_head = DynamicMaskHead(
            feature_channels=config.mask_channels,
            hidden_channels=config.dynamic_channels,
            layers=config.dynamic_layers,
        )
        self.controller = mask_controller(hidden_size, self.mask_head.parameter_count)
        self.alignment = WordAlignment(hidden_size)

    def encode_video(self, frames: Tensor, padding_mask: Tensor | None = None) -> VideoFeatures:
        """Everything that needs no text; arguments as in `VideoEncoder.forward`."""
        return self.video(frames, padding_mask, self.mask_features.prepare_fine)

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Everything that needs no video."""
        return self.text(tokens)

    def decode(self, video: VideoFeatures, text: TextFeatures) -> SOCOutputs:
        """Decode and score the queries of E expressions about one clip, or about a clip each."""
        decoded, mask_features = self.decode_frames(video, text)
        last_states = decoded.states[-1].unflatten(0, (len(text), video.frames))
        clip_queries = self.cluster(last_states, text.sentence[:, None])
        return self._outputs(decoded, OUTPUT_LAYER, clip_queries, mask_features)

    def decode_layers(self, video: VideoFeatures, text: TextFeatures) -> list[SOCOutputs]:
        """As `decode`, the outputs of every decoder layer with its own clip queries: training has a loss for each."""
        decoded, mask_features = self.decode_frames(video, text)
        layers = len(decoded.states)
        states = decoded.states.unflatten(1, (len(text), video.frames)).flatten(0, 1)
        clip_queries = self.cluster(states, text.sentence.repeat(layers, 1)[:, None]).unflatten(0, (layers, -1))
        return [self._outputs(decoded, layer, clip_queries[layer], mask_features) for layer in range(layers)]

    def _outputs(self, decoded: DecodedQueries, layer: int, clip_queries: Tensor, mask_features: Tensor) -> SOCOutputs:
        by_frame = (len(clip_queries), -1)
        states = decoded.states[layer].unflatten(0, by_frame) + clip_queries[:, None]
        reference = decoded.reference_before(layer).unflatten(0, by_frame)
        return SOCOutputs(
            logits=self.class_heads[layer](states),
            boxes=refine(reference, self.queries.box_heads[layer](states)),
            states=states,
            centres=decoded.references[layer].unflatten(0, by_frame)[..., :2],
            mask_features=mask_features,
            clip_queries=clip_queries,
        )

    def decode_frames(self, video: VideoFeatures, text: TextFeatures) -> tuple[DecodedQueries, Tensor]:
        """Frame queries and mask features of all E*T pairs of a frame and an expression, a few pairs at a time.

        The encoder's memory is dropped after each chunk (`DecodedQueries.memory` is empty); the mask features made from
        it are much smaller.
        """
        parts, features = [], []
        for pairs in FrameTextPairs.all(video, text).split(self.queries.pairs_at_once(video)):
            decoded = self.queries.decode_pairs(pairs, video, text, query_init=None)
            features.append(self.mask_features(decoded.memory, pairs.of_frames(video.fine)))
            parts.append(replace(decoded, memory=[]))
        return DecodedQueries.cat(parts), torch.cat(features)

    def predict_masks(self, video: VideoFeatures, text: TextFeatures, outputs: SOCOutputs) -> Tensor:
        """Mask logits [E, T, Q, h, w] of all queries in `outputs`."""
        states, centres = outputs.mask_inputs(video.sizes)
        inner = states.shape[1] * self.mask_head.hidden_channels * outputs.mask_features[0, 0].numel()
        at_once = rows_at_once(states.device, inner * video.sizes.element_size())
        masks = [
            self.mask_head(outputs.mask_features[chunk], self.controller(states[chunk]), centres[chunk])
            for chunk in chunk_slices(len(states), at_once)
        ]
        return torch.cat(masks).unflatten(0, outputs.states.shape[:2])
