"""How well a query answers the expression: agreement with the text, and predicted overlap of its mask."""

import torch
from torch import Tensor, nn
from torch.nn import functional

LOGIT_LIMIT = 50000.0


class TextAgreement(nn.Module):
    """Dot product of queries with the pooled expression (UNINEXT `VL_Align`, after GLIP)."""

    def __init__(self, channels: int, text_dim: int) -> None:
        super().__init__()
        self.project_text = nn.Linear(text_dim, channels)
        self.text_bias = nn.Parameter(torch.zeros(text_dim))
        self.bias = nn.Parameter(torch.full((1,), -4.595))  # probability 1 % before training
        self.log_scale = nn.Parameter(torch.zeros(1))

    def forward(self, queries: Tensor, pooled_text: Tensor) -> Tensor:
        """Logits [E, Q] of queries [E, Q, C] for expressions [E, D]."""
        text = functional.normalize(pooled_text, dim=-1)
        direction = self.project_text(text / 2)
        logits = (queries @ direction[..., None]).squeeze(-1) / self.log_scale.exp()
        logits = logits + (text @ self.text_bias)[:, None] + self.bias
        return logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)


def pool_text(words: Tensor, mask: Tensor) -> Tensor:
    """Mean of the words [E, N, D] where mask bool [E, N] is True: [E, D]."""
    weights = mask.to(words.dtype)
    return (words * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
