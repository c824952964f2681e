"""From video and text to object queries: early fusion of pixels and words, then the deformable transformer.

Source: `VisionLanguageFusionModule` and `DeformableTransformer` of ReferFormer and MUTR. Every pair of a frame and an
expression is independent of the others, so a few are computed at a time.
"""

from collections.abc import Callable
from dataclasses import replace

from program_kit.torch.memory import rows_at_once
from torch import Tensor, nn

from rvos_layers.blocks.attention import Attention, attention_mask
from rvos_layers.blocks.config import DeformableConfig
from rvos_layers.blocks.deformable import DecodedQueries, DeformableTransformer
from rvos_layers.blocks.heads import box_head
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import FrameTextPairs, VideoFeatures

NUM_HEADS = 8  # of the attention to words; it does not follow the transformer's
DECODER_STRIDES = 3  # levels of the memory that the mask branch takes: strides 8, 16 and 32


class GroundedQueries(nn.Module):
    """Attention of pixels to words, deformable transformer, box heads.

    Args:
        config: of the transformer.
        queries: Q.
        fuse: combines pixels with what they attended to in the words, both [n, S, C]. The models differ here.
    """

    def __init__(self, config: DeformableConfig, queries: int, fuse: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        hidden_size = config.hidden_size
        self.fuse = fuse
        self.words = Attention(hidden_size, NUM_HEADS)
        self.transformer = DeformableTransformer(config)
        self.query_embed = nn.Embedding(queries, hidden_size)
        self.box_heads = nn.ModuleList(box_head(hidden_size, layer) for layer in range(config.decoder_layers))

    def forward(self, video: VideoFeatures, text: TextFeatures, query_init: Tensor | None) -> DecodedQueries:
        """Decode Q queries for each of the E*T pairs of a frame and an expression.

        Args:
            video: B clips of T frames.
            text: E expressions about them.
            query_init: [E, C], what all queries of an expression are initialised with; None for zeros.

        Returns:
            with N = E*T images, ordered by expression, then frame; memory of strides 8, 16 and 32 only.
        """
        chunks = FrameTextPairs.all(video, text).split(self.pairs_at_once(video))
        return DecodedQueries.cat([self.decode_pairs(pairs, video, text, query_init) for pairs in chunks])

    def pairs_at_once(self, video: VideoFeatures) -> int:
        """How many pairs to decode together."""
        tokens = sum(level[0, 0].numel() for level in video.levels)
        level = video.levels[0]
        return rows_at_once(level.device, tokens * self.transformer.feedforward_dim * level.element_size())

    def decode_pairs(
        self, pairs: FrameTextPairs, video: VideoFeatures, text: TextFeatures, query_init: Tensor | None
    ) -> DecodedQueries:
        """Decode Q queries for each of the n pairs; other arguments as in `forward`."""
        grids = video.grids[1:]
        padding_masks = [pairs.of_frames(grid.padding_mask) for grid in grids if grid.padding_mask is not None]
        decoded = self.transformer(
            [self.fuse_words(pairs.of_frames(level), pairs.of_text(text)) for level in video.levels],
            [pairs.of_frames(grid.position) for grid in grids],
            padding_masks or None,
            query_position=self.query_embed.weight,
            query_init=None if query_init is None else self._for_each_query(pairs, query_init),
            box_heads=self.box_heads,
        )
        return replace(decoded, memory=decoded.memory[:DECODER_STRIDES])

    def fuse_words(self, level: Tensor, text: TextFeatures) -> Tensor:
        """Fuse a feature level [n, C, h, w] with the words of n expressions; same shape."""
        pixels = level.flatten(2).transpose(1, 2)
        attended = self.words(pixels, text.words + text.word_positions, text.words, attention_mask(text.padding_mask))
        return self.fuse(pixels, attended).transpose(1, 2).unflatten(2, level.shape[2:])

    def _for_each_query(self, pairs: FrameTextPairs, query_init: Tensor) -> Tensor:
        return query_init[pairs.indices // pairs.frames, None].expand(-1, self.query_embed.num_embeddings, -1)
