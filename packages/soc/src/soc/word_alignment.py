"""Words that have attended to the video: the text side of the similarity loss. Only training uses it.

Source: `lvf` in `models/mttr.py` of the challenge code.
"""

from einops import rearrange
from rvos_layers.blocks.attention import Attention, attention_mask
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.grounded.queries import NUM_HEADS
from torch import Tensor, nn

LEVEL = 2  # of `VideoFeatures.levels`: stride 32


class WordAlignment(nn.Module):
    """Multiplies every word by what it attends to in all pixels of all frames."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.attention = Attention(hidden_size, NUM_HEADS)

    def forward(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """Words [E, L, C] of E expressions about one clip, or about a clip each."""
        level, grid = video.levels[LEVEL], video.grids[LEVEL + 1]
        pixels, keys = (_clip_tokens(x, video.frames) for x in (level, level + grid.position))
        padding = None
        if grid.padding_mask is not None:
            padding = grid.padding_mask.unflatten(0, (-1, video.frames)).flatten(1)
        shape = (len(text), -1, -1)
        mask = attention_mask(padding)
        return text.words * self.attention(text.words, keys.expand(shape), pixels.expand(shape), mask)

    def sentence(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """Mean of an expression's aligned words, [E, C]."""
        valid = ~text.padding_mask[..., None]
        return (self(video, text) * valid).sum(1) / valid.sum(1)


def _clip_tokens(maps: Tensor, frames: int) -> Tensor:
    """Pixels of all frames of a clip, [B*T, C, h, w] to [B, T*h*w, C]."""
    return rearrange(maps, "(b t) c h w -> b (t h w) c", t=frames)
