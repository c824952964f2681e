"""Multi-scale temporal aggregation: before it asks about frames, the sentence has seen the whole video.

Source: MTA in `models/segmentation.py` of OpenGVLab/MUTR.
"""

from collections.abc import Iterator

from rvos_layers.blocks.attention import AttentionLayer, FeedForward, keys_to_see
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from torch import Tensor, nn

HEADS = 8


class TemporalAggregation(nn.Module):
    """Words attend to all pixels of all frames, one feature level after the other, with the same weights."""

    def __init__(self, channels: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.attention = AttentionLayer(channels, HEADS, dropout)
        self.feedforward = FeedForward(channels, feedforward, dropout)

    def forward(self, video: VideoFeatures, text: TextFeatures) -> Iterator[Tensor]:
        """Yield the words [E, L, C] after each level, fine to coarse."""
        by_clip = (video.clips, -1, text.words.shape[-1])  # sentences about one clip share its keys and values
        words, positions = text.words.reshape(by_clip), text.word_positions.reshape(by_clip)
        for level, grid in zip(video.levels, video.grids[1:], strict=True):
            pixels = level.permute(0, 2, 3, 1).reshape(by_clip)
            hidden = None if grid.padding is None else grid.padding.reshape(video.clips, -1)
            words = self.feedforward(self.attention(words, pixels, position=positions, mask=keys_to_see(hidden)))
            yield words.reshape(text.words.shape)
