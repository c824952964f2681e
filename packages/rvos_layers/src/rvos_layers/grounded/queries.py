"""From video and sentence to queries: the words join the pixels, then a deformable transformer looks for objects.

Source: `VisionLanguageFusionModule` and `DeformableTransformer` of ReferFormer and MUTR. Every question (a frame
and a sentence) is answered by itself, so a few are worked on at a time.
"""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from rvos_layers.blocks.attention import Attention, keys_to_see
from rvos_layers.blocks.config import DeformableConfig
from rvos_layers.blocks.deformable import DecodedQueries, DeformableTransformer
from rvos_layers.blocks.heads import box_head
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import Questions, VideoFeatures

HEADS = 8  # of the attention to words, whatever the transformer has
QUESTIONS_AT_ONCE = 8
DECODER_STRIDES = 3  # levels of the memory that become masks: strides 8, 16 and 32


class GroundedQueries(nn.Module):
    """Attention of the pixels to the words, deformable transformer, box heads.

    Args:
        config: of the transformer.
        queries: Q.
        fuse: joins pixels with what they read in the words, both [n, S, C]. This is where the models differ.
    """

    def __init__(self, config: DeformableConfig, queries: int, fuse: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        channels = config.channels
        self.fuse = fuse
        self.words = Attention(channels, HEADS)
        self.transformer = DeformableTransformer(config)
        self.query_embed = nn.Embedding(queries, channels)
        self.box_heads = nn.ModuleList(box_head(channels, layer) for layer in range(config.decoder_layers))

    def forward(self, video: VideoFeatures, text: TextFeatures, content: Tensor | None) -> DecodedQueries:
        """Decode Q queries for each of the E*T questions.

        Args:
            video: B clips of T frames.
            text: E sentences about them.
            content: [E, C] what all queries of a sentence start from; None for zeros.

        Returns:
            with N = E*T images, ordered by sentence, then frame; memory of strides 8, 16 and 32 only.
        """
        parts = Questions.all(video, text).split(QUESTIONS_AT_ONCE)
        return DecodedQueries.join([self.decode(part, video, text, content) for part in parts])

    def fused(self, level: Tensor, text: TextFeatures) -> Tensor:
        """Let a feature level [n, C, h, w] read n sentences; same shape."""
        pixels = level.flatten(2).transpose(1, 2)
        read = self.words(pixels, text.words + text.word_positions, text.words, keys_to_see(text.padding_mask))
        return self.fuse(pixels, read).transpose(1, 2).unflatten(2, level.shape[2:])

    def decode(
        self, questions: Questions, video: VideoFeatures, text: TextFeatures, content: Tensor | None
    ) -> DecodedQueries:
        """Decode Q queries for each of the n questions; other arguments as in `forward`."""
        grids = video.grids[1:]
        padding = [questions.about(grid.padding) for grid in grids if grid.padding is not None]
        decoded = self.transformer(
            [self.fused(questions.about(level), questions.asking(text)) for level in video.levels],
            [questions.about(grid.position) for grid in grids],
            padding or None,
            query_position=self.query_embed.weight,
            content=None if content is None else self._start(questions, content),
            box_heads=self.box_heads,
        )
        return replace(decoded, memory=decoded.memory[:DECODER_STRIDES])

    def _start(self, questions: Questions, content: Tensor) -> Tensor:
        return content[questions.numbers // questions.frames, None].expand(-1, self.query_embed.num_embeddings, -1)
