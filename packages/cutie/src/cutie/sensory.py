"""Sensory memory: a map for each object that changes from frame to frame, as the state of a GRU does."""

import torch
import torch.nn.functional as F  # noqa: N812
from program_kit.torch.precision import keep_float32
from torch import Tensor, nn


class SensoryGates(nn.Module):
    """What is forgotten, what is taken over, and what is new.

    Args:
        in_dim: channels of the features that change the memory.
        dim: channels of the memory.
    """

    def __init__(self, in_dim: int, dim: int):
        super().__init__()
        # Errors of half precision would add up from frame to frame.
        self.gates = keep_float32(nn.Conv2d(in_dim + dim, 3 * dim, kernel_size=3, padding=1))

    def forward(self, features: Tensor, sensory: Tensor) -> Tensor:
        """The memory float32 [N, C, h, w] after it has seen features [N, in_dim, h, w]."""
        forget, update, new = self.gates(torch.cat([features.float(), sensory], dim=1)).chunk(3, dim=1)
        update = update.sigmoid()
        return forget.sigmoid() * sensory * (1 - update) + update * new.tanh()


class DecoderSensoryUpdate(nn.Module):
    """The update after a frame was decoded, from the decoder's maps at all strides.

    Args:
        dim: channels of the memory, and of the decoder at stride 16.
        decoder_dim: channels of the decoder at strides 8 and 4; at stride 4 the logit comes on top.
    """

    def __init__(self, dim: int, decoder_dim: int):
        super().__init__()
        self.s16 = nn.Conv2d(dim, dim, kernel_size=1)
        self.s8 = nn.Conv2d(decoder_dim, dim, kernel_size=1)
        self.s4 = nn.Conv2d(decoder_dim + 1, dim, kernel_size=1)
        self.gates = SensoryGates(dim, dim)

    def forward(self, s16: Tensor, s8: Tensor, s4: Tensor, sensory: Tensor) -> Tensor:
        """The memory [N, C, h, w] after maps at strides 16, 8 and 4, [N, C', ...] each."""
        features = self.s16(s16) + self.s8(F.avg_pool2d(s8, 2)) + self.s4(F.avg_pool2d(s4, 4))
        return self.gates(features, sensory)
