"""Heads of the queries: agreement with the expression, and masks.

Masks come from dynamic convolutions: every query predicts its own small network (CondInst, Tian et al. 2020). UNINEXT
`ddetrs_dn.py` and `condinst_segm.py`. Letters: E expressions, Q queries, C channels, F mask channels, N words,
D text channels.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from uninext.config import STRIDES
from uninext.deformable_transformer import MLP

FEATURE_STRIDE = STRIDES[0]
LOGIT_LIMIT = 50000.0


class TextAgreement(nn.Module):
    """Dot product of queries with the pooled expression (UNINEXT `VL_Align`, after GLIP)."""

    def __init__(self, hidden_size: int, text_hidden_size: int) -> None:
        super().__init__()
        self.project_text = nn.Linear(text_hidden_size, hidden_size)
        self.text_bias = nn.Parameter(torch.zeros(text_hidden_size))
        self.bias = nn.Parameter(torch.full((1,), -4.595))  # probability 1 % before training
        self.log_scale = nn.Parameter(torch.zeros(1))

    def forward(self, queries: Tensor, pooled_text: Tensor) -> Tensor:
        """Logits [E, Q] of queries [E, Q, C] for expressions [E, D]."""
        text = functional.normalize(pooled_text, dim=-1)
        direction = self.project_text(text / 2)
        logits = (queries @ direction[..., None]).squeeze(-1) / self.log_scale.exp()
        logits = logits + (text @ self.text_bias)[:, None] + self.bias
        return logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)


def pool_text(words: Tensor, padding_mask: Tensor) -> Tensor:
    """Mean [E, D] of the words [E, N, D] without padding; padding_mask bool [E, N] is True where padded."""
    is_word = (~padding_mask).to(words.dtype)
    return (words * is_word[..., None]).sum(1) / is_word.sum(1, keepdim=True)


class MaskFeatures(nn.Module):
    """The three finer levels of the memory, merged from coarse to fine into F maps at stride 8."""

    def __init__(self, hidden_size: int, mask_channels: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(hidden_size, hidden_size, 3, padding=1)
        self.middle = nn.Conv2d(hidden_size, hidden_size, 3, padding=1)
        self.fine = nn.Conv2d(hidden_size, hidden_size, 3, padding=1)
        self.narrow = nn.Conv2d(hidden_size, hidden_size // 4, 3, padding=1)
        self.output = nn.Conv2d(hidden_size // 4, mask_channels, 3, padding=1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Memory maps [E, C, H, W] at strides 8, 16 and 32 to non-negative features [E, F, H/8, W/8]."""
        fine, middle, coarse = maps
        x = self.coarse(coarse).relu_()
        x = self.middle(middle + functional.interpolate(x, middle.shape[-2:], mode="nearest")).relu_()
        x = self.fine(fine + functional.interpolate(x, fine.shape[-2:], mode="nearest")).relu_()
        return self.output(self.narrow(x).relu_()).relu_()


class DynamicMask(nn.Module):
    """Predicts the weights of a per-pixel network from each query and runs that network."""

    def __init__(self, hidden_size: int, mask_channels: int, layers: int) -> None:
        super().__init__()
        widths = [mask_channels + 2, *[mask_channels] * (layers - 1), 1]
        self.shapes = [(size_out, size_in) for size_in, size_out in pairwise(widths)]
        self.controller = MLP(hidden_size, hidden_size, hidden_size, sum(a * b + a for a, b in self.shapes))

    def forward(self, queries: Tensor, centres: Tensor, features: Tensor) -> Tensor:
        """Mask logits of queries.

        Args:
            queries: [E, Q, C].
            centres: [E, Q, 2] (x, y) of the reference boxes in pixels of the resized frame; the per-pixel network sees
                each cell's distance to it in pixels, without normalisation.
            features: [E, F, h, w] at stride 8.

        Returns:
            [E, Q, 2h, 2w] logits on the padded frame at stride 4, float32 also under autocast.
        """
        parameters = self.controller(queries).float()
        with torch.autocast(
            features.device.type, enabled=False
        ):  # distances in pixels are too coarse in half precision
            return self._run(parameters, centres.float(), features.float())

    def _run(self, parameters: Tensor, centres: Tensor, features: Tensor) -> Tensor:
        """The per-pixel networks with these parameters [E, Q, P]; see `forward`."""
        height, width = features.shape[-2:]
        cells = _cell_positions(height, width, features.device)  # [2, h, w]
        offsets = centres[..., None, None] - cells  # [E, Q, 2, h, w]
        shared = features[:, None].expand(-1, parameters.shape[1], -1, -1, -1)
        x = torch.cat([offsets, shared], 2).flatten(3)  # [E, Q, 2 + F, h*w]
        layers = list(zip(*self._split(parameters), strict=True))
        for weight, bias in layers[:-1]:
            x = torch.relu_(weight @ x + bias)
        weight, bias = layers[-1]
        logits = (weight @ x + bias).squeeze(2)
        return _double(logits.unflatten(-1, (height, width)))

    def _split(self, parameters: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Cut [E, Q, P] into weights [E, Q, out, in] and then biases [E, Q, out, 1] of the layers."""
        sizes = [a * b for a, b in self.shapes] + [a for a, _ in self.shapes]
        parts = parameters.split(sizes, -1)
        weights = [part.unflatten(-1, shape) for part, shape in zip(parts, self.shapes, strict=False)]
        return weights, [part[..., None] for part in parts[len(self.shapes) :]]


def _cell_positions(height: int, width: int, device: torch.device) -> Tensor:
    """Centre (x, y) in pixels of each cell of the stride-8 map: [2, h, w]."""
    x = torch.arange(width, dtype=torch.float32, device=device) * FEATURE_STRIDE + FEATURE_STRIDE // 2
    y = torch.arange(height, dtype=torch.float32, device=device) * FEATURE_STRIDE + FEATURE_STRIDE // 2
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


def _double(maps: Tensor) -> Tensor:
    """Maps [E, Q, h, w] at twice the size, shifted by half a cell as CondInst's "aligned" upsampling does."""
    height, width = maps.shape[-2:]
    grown = functional.pad(maps, (0, 1, 0, 1), mode="replicate")
    grown = functional.interpolate(grown, (2 * height + 1, 2 * width + 1), mode="bilinear", align_corners=True)
    return functional.pad(grown, (1, 0, 1, 0), mode="replicate")[..., : 2 * height, : 2 * width]
