"""Early fusion: image tokens and words attend to each other once, before the encoder.

UNINEXT `vlfusion.py` and `fuse_helper.py`, after GLIP (Li et al. 2022, section 3.2). Letters: E expressions,
S image tokens, N words, C image channels, D text channels, H heads of K channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LOGIT_LIMIT = 50000.0


@dataclass(frozen=True, slots=True, eq=False)
class ImageFusionInputs:
    """The image's half of fusion; depends on no expression.

    Where every expression has an image of its own, E comes first in every shape.

    Attributes:
        tokens: [S, C] normed image tokens.
        queries: [H, S, K] scaled; words attend to them as keys.
        values: [H, S, K] for the words.
    """

    tokens: Tensor
    queries: Tensor
    values: Tensor


class EarlyFusion(nn.Module):
    """Attention in both directions from one shared matrix of logits.

    Words also attend to image padding, as in the published model.
    """

    def __init__(self, hidden_size: int, text_hidden_size: int, fusion_hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.image_norm = nn.LayerNorm(hidden_size)
        self.text_norm = nn.LayerNorm(text_hidden_size)
        self.image_query = nn.Linear(hidden_size, fusion_hidden_size)
        self.text_key = nn.Linear(text_hidden_size, fusion_hidden_size)
        self.image_value = nn.Linear(hidden_size, fusion_hidden_size)
        self.text_value = nn.Linear(text_hidden_size, fusion_hidden_size)
        self.image_output = nn.Linear(fusion_hidden_size, hidden_size)
        self.text_output = nn.Linear(fusion_hidden_size, text_hidden_size)
        self.image_gate = nn.Parameter(torch.full((hidden_size,), 1 / 8))
        self.text_gate = nn.Parameter(torch.full((text_hidden_size,), 1 / 8))

    def prepare_image(self, tokens: Tensor) -> ImageFusionInputs:
        """The half that all expressions share, of image tokens [S, C], or [E, S, C] in training."""
        tokens = self.image_norm(tokens)
        queries = self._heads(self.image_query(tokens))
        return ImageFusionInputs(tokens, queries * queries.shape[-1] ** -0.5, self._heads(self.image_value(tokens)))

    def forward(self, image: ImageFusionInputs, text: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse one image with every expression, or in training each expression with its own image.

        Args:
            image: what `prepare_image` returned.
            text: [E, N, D] hidden states of the words.
            padding_mask: bool [E, N], True where the text is padded.

        Returns:
            Fused image tokens [E, S, C] and fused words [E, N, D].
        """
        text = self.text_norm(text)
        keys, values = self._heads(self.text_key(text)), self._heads(self.text_value(text))  # [E, H, N, K]
        logits = (image.queries @ keys.mT).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)  # [E, H, S, N]

        to_text = logits.mT.softmax(-1) @ image.values  # [E, H, N, K]
        logits = logits.masked_fill(padding_mask[:, None, None, :], float("-inf"))
        to_image = logits.softmax(-1) @ values  # [E, H, S, K]
        return (
            image.tokens + self.image_gate * self.image_output(to_image.transpose(1, 2).flatten(2)),
            text + self.text_gate * self.text_output(to_text.transpose(1, 2).flatten(2)),
        )

    def _heads(self, x: Tensor) -> Tensor:
        """[..., N, H * K] to [..., H, N, K]."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-2, -3)
