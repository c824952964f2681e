"""Words that have seen the video: the text side of the similarity loss. Needed for training only.

Source: `lvf` in `models/mttr.py` of the challenge code.
"""

from einops import rearrange
from rvos_layers.blocks.attention import Attention, keys_to_see
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.grounded.queries import HEADS
from torch import Tensor, nn

LEVEL = 2  # of `VideoFeatures.levels`: stride 32


class WordAlignment(nn.Module):
    """Multiplies every word by what it reads in all pixels of all frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = Attention(channels, HEADS)

    def forward(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """Words [E, L, C] of E sentences about one clip, or about a clip each."""
        level, grid = video.levels[LEVEL], video.grids[LEVEL + 1]
        pixels, keys = (_in_a_row(x, video.frames) for x in (level, level + grid.position))
        padding = None if grid.padding is None else grid.padding.unflatten(0, (-1, video.frames)).flatten(1)
        shape = (len(text), -1, -1)
        return text.words * self.attention(text.words, keys.expand(shape), pixels.expand(shape), keys_to_see(padding))

    def sentence(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """Mean of a sentence's aligned words, [E, C]."""
        valid = ~text.padding_mask[..., None]
        return (self(video, text) * valid).sum(1) / valid.sum(1)


def _in_a_row(maps: Tensor, frames: int) -> Tensor:
    """Pixels of all frames of a clip, [B*T, C, h, w] to [B, T*h*w, C]."""
    return rearrange(maps, "(b t) c h w -> b (t h w) c", t=frames)
