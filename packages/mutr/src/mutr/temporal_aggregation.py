"""Multi-scale temporal aggregation: the words attend to the whole video before the queries are decoded.

Source: MTA in `models/segmentation.py` of OpenGVLab/MUTR.
"""

from collections.abc import Iterator

from rvos_layers.blocks.attention import AttentionLayer, FeedForward, attention_mask
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from torch import Tensor, nn

NUM_HEADS = 8


class TemporalAggregation(nn.Module):
    """Words attend to all pixels of all frames, one feature level after the other, with the same weights."""

    def __init__(self, hidden_size: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = AttentionLayer(hidden_size, NUM_HEADS, dropout)
        self.feedforward = FeedForward(hidden_size, feedforward_dim, dropout)

    def forward(self, video: VideoFeatures, text: TextFeatures) -> Iterator[Tensor]:
        """Yield the words [E, L, C] after each level, fine to coarse."""
        by_clip = (video.clips, -1, text.words.shape[-1])  # expressions about one clip share its keys and values
        words, positions = text.words.reshape(by_clip), text.word_positions.reshape(by_clip)
        for level, grid in zip(video.levels, video.grids[1:], strict=True):
            pixels = level.permute(0, 2, 3, 1).reshape(by_clip)
            padding = None if grid.padding_mask is None else grid.padding_mask.reshape(video.clips, -1)
            words = self.feedforward(self.attention(words, pixels, position=positions, mask=attention_mask(padding)))
            yield words.reshape(text.words.shape)
