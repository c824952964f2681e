"""SOC: frame queries gather into clip queries, which tell each frame's queries what the whole video says.

Source: Luo et al., "SOC: Semantic-Assisted Object Cluster for Referring Video Object Segmentation", NeurIPS 2023,
figure 2; `models/soc.py` of RobertLuo1/NeurIPS2023_SOC, called MTTR in the challenge code.

Shapes: E sentences, T frames, Q queries, C channels, h x w the frames at stride 4.
"""

from dataclasses import dataclass, replace

import torch
from rvos_layers.blocks.deformable import DecodedQueries
from rvos_layers.blocks.dynamic_masks import DynamicMaskHead
from rvos_layers.blocks.frame_query import FrameQueryTransformer
from rvos_layers.blocks.heads import FoundQueries, class_head, mask_controller, refine
from rvos_layers.encoders.text import TextEncoder, TextFeatures
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.encoders.video_features import Questions, VideoEncoder, VideoFeatures
from rvos_layers.frame_groups import groups
from rvos_layers.grounded.queries import QUESTIONS_AT_ONCE, GroundedQueries
from torch import Tensor, nn

from soc.config import SOCConfig
from soc.mask_features import MaskFeatures
from soc.word_alignment import WordAlignment

# In evaluation the published code keeps one level of cluster output, made from the last decoder layer, and pairs it
# with the *first* layer's states, heads and reference points. Every published figure was obtained this way, so the
# answer is read from layer 0 here too. Later layers still run, as the cluster reads the last one; their heads do not.
ANSWERING_LAYER = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundObjects(FoundQueries):
    """Found queries, and what masks are drawn on.

    Attributes:
        mask_features: [E*T, mask channels, h, w].
        clip_queries: [E, Q, C], output of the object cluster.
    """

    mask_features: Tensor
    clip_queries: Tensor


class SOC(nn.Module):
    """The network. Video and sentences are encoded by themselves, so that all sentences share a video's features."""

    def __init__(self, config: SOCConfig) -> None:
        super().__init__()
        channels = config.channels
        layers = range(config.transformer.decoder_layers)
        self.video = VideoEncoder(config.backbone, channels)
        self.text = TextEncoder(config.text, channels)
        self.queries = GroundedQueries(config.transformer, config.queries, fuse=torch.mul)
        self.cluster = FrameQueryTransformer(config.cluster, config.queries)
        self.class_heads = nn.ModuleList(class_head(channels, config.classes) for _ in layers)
        self.mask_features = MaskFeatures(config.backbone.stage_channels[0], channels, config.mask_channels)
        self.mask_head = DynamicMaskHead(
            feature_channels=config.mask_channels,
            hidden_channels=config.dynamic_channels,
            layers=config.dynamic_layers,
        )
        self.controller = mask_controller(channels, self.mask_head.parameter_count)
        self.alignment = WordAlignment(channels)

    def encode_video(self, frames: Tensor, padding_mask: Tensor | None = None) -> VideoFeatures:
        """Everything that needs no sentence; arguments as in `VideoEncoder.forward`."""
        return self.video(frames, padding_mask, self.mask_features.prepare)

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Everything that needs no video."""
        return self.text(tokens)

    def find(self, video: VideoFeatures, text: TextFeatures) -> FoundObjects:
        """Look for what E sentences mean in one clip, or each in a clip of its own."""
        decoded, mask_features = self.decode(video, text)
        last_states = decoded.states[-1].unflatten(0, (len(text), video.frames))
        clip_queries = self.cluster(last_states, text.sentence[:, None])
        return self._found_by(ANSWERING_LAYER, decoded, clip_queries, mask_features)

    def find_by_layer(self, video: VideoFeatures, text: TextFeatures) -> list[FoundObjects]:
        """As `find`, what every decoder layer says, each with clip queries of its own: training corrects them all."""
        decoded, mask_features = self.decode(video, text)
        layers = len(decoded.states)
        states = decoded.states.unflatten(1, (len(text), video.frames)).flatten(0, 1)
        clip_queries = self.cluster(states, text.sentence.repeat(layers, 1)[:, None]).unflatten(0, (layers, -1))
        return [self._found_by(layer, decoded, clip_queries[layer], mask_features) for layer in range(layers)]

    def _found_by(
        self, layer: int, decoded: DecodedQueries, clip_queries: Tensor, mask_features: Tensor
    ) -> FoundObjects:
        by_frame = (len(clip_queries), -1)
        states = decoded.states[layer].unflatten(0, by_frame) + clip_queries[:, None]
        reference = decoded.reference_into(layer).unflatten(0, by_frame)
        return FoundObjects(
            logits=self.class_heads[layer](states),
            boxes=refine(reference, self.queries.box_heads[layer](states)),
            states=states,
            centres=decoded.references[layer].unflatten(0, by_frame)[..., :2],
            mask_features=mask_features,
            clip_queries=clip_queries,
        )

    def decode(self, video: VideoFeatures, text: TextFeatures) -> tuple[DecodedQueries, Tensor]:
        """Frame queries and mask features of all E*T questions, a few at a time.

        The encoder's memory is given up with each group of questions (`DecodedQueries.memory` is empty); the mask
        features made of it are much smaller.
        """
        parts, features = [], []
        for questions in Questions.all(video, text).split(QUESTIONS_AT_ONCE):
            decoded = self.queries.decode(questions, video, text, content=None)
            features.append(self.mask_features(decoded.memory, questions.about(video.fine)))
            parts.append(replace(decoded, memory=[]))
        return DecodedQueries.join(parts), torch.cat(features)

    def draw(self, video: VideoFeatures, text: TextFeatures, found: FoundObjects) -> Tensor:
        """Mask logits [E, T, Q, h, w] of all queries in `found`."""
        states, centres = found.by_question(video.sizes)
        masks = [
            self.mask_head(found.mask_features[some], self.controller(states[some]), centres[some])
            for some in groups(len(states), QUESTIONS_AT_ONCE)
        ]
        return torch.cat(masks).unflatten(0, found.states.shape[:2])
