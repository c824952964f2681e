"""Feature pyramid that turns propagated tokens into one logit for every id (`networks/decoders/fpn.py`)."""

from typing import NamedTuple, cast

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from aot_deaot.encoder import EncoderMaps

GROUPS = 8


class DecoderSkips(NamedTuple):
    """The part of the decoder that depends on the image alone; C is the width of the propagation layers.

    Attributes:
        base: float [1, C, H/16, W/16], what the projected image adds to the first convolution; DeAOT has only its bias.
        s16, s8, s4: float [1, C, H/16, W/16], [1, C, H/8, W/8], [1, C/2, H/4, W/4].
    """

    base: Tensor
    s16: Tensor
    s8: Tensor
    s4: Tensor


class Decoder(nn.Module):
    """Joins tokens and image from stride 16 to stride 4.

    Args:
        image_dim: channels of the projected image that join the tokens (AOT: `hidden_size`; DeAOT: 0).
        token_dim: channels of all propagated tokens together.
        hidden_size: width C.
        channels: of the encoder's maps at strides 4, 8 and 16.
        ids: output channels, background included.
        align_corners: convention of the resizes between strides.
    """

    def __init__(
        self,
        *,
        image_dim: int,
        token_dim: int,
        hidden_size: int,
        channels: tuple[int, ...],
        ids: int,
        align_corners: bool,
    ):
        super().__init__()
        self.image_dim = image_dim
        self.align_corners = align_corners
        half = hidden_size // 2
        self.join = nn.Conv2d(image_dim + token_dim, hidden_size, kernel_size=1)
        self.join_norm = nn.GroupNorm(GROUPS, hidden_size)
        self.skips = nn.ModuleDict(
            {
                "s16": nn.Conv2d(channels[2], hidden_size, kernel_size=1),
                "s8": nn.Conv2d(channels[1], hidden_size, kernel_size=1),
                "s4": nn.Conv2d(channels[0], half, kernel_size=1),
            }
        )
        widths = {"s16": (hidden_size, hidden_size), "s8": (hidden_size, half), "s4": (half, half)}
        self.blends = nn.ModuleDict({s: nn.Conv2d(a, b, kernel_size=3, padding=1) for s, (a, b) in widths.items()})
        self.norms = nn.ModuleDict({s: nn.GroupNorm(GROUPS, b) for s, (_, b) in widths.items()})
        self.logits = nn.Conv2d(half, ids, kernel_size=1)

    def prepare(self, maps: EncoderMaps, embedding: Tensor) -> DecoderSkips:
        """What every object set shares: the encoder's maps and the projected image [1, C, H/16, W/16]."""
        base = cast(Tensor, self.join.bias)[None, :, None, None]
        if self.image_dim:
            base = F.conv2d(embedding, self.join.weight[:, : self.image_dim]) + base
        return DecoderSkips(base, *(self.skips[stride](getattr(maps, stride)) for stride in ("s16", "s8", "s4")))

    def forward(self, tokens: Tensor, skips: DecoderSkips) -> Tensor:
        """Propagated tokens [B, token_dim, H/16, W/16] to logits [B, ids, H/4, W/4]."""
        x = F.conv2d(tokens, self.join.weight[:, self.image_dim :]) + skips.base
        x = F.relu(self.join_norm(x))
        for stride in ("s16", "s8", "s4"):
            skip = getattr(skips, stride)
            if x.shape[-2:] != skip.shape[-2:]:
                x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=self.align_corners)
            x = F.relu(self.norms[stride](self.blends[stride](x + skip)))
        return self.logits(x)
