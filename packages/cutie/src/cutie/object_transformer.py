"""The object transformer: queries of each object and its pixels tell one another what they know."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cutie.competition import won_pixels
from cutie.config import NetworkConfig
from cutie.fusion import ChannelAttentionBlock
from cutie.positions import sine_positions


class ObjectBlock(nn.Module):
    """Queries read pixels, then one another; pixels read queries."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        dim, heads = config.dim, config.num_heads
        self.read_pixels = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.read_pixels_norm = nn.LayerNorm(dim)
        self.read_queries = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.read_queries_norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, config.feedforward_dim)
        self.narrow = nn.Linear(config.feedforward_dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.pixels_read_queries = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.blend = ChannelAttentionBlock(dim)

    def forward(
        self, queries: Tensor, pixels: Tensor, query_codes: Tensor, pixel_codes: Tensor, blocked: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One round.

        Args:
            queries: [N, Q, C].
            pixels: [N, C, h, w].
            query_codes: say what each query stands for, [N, Q, C].
            pixel_codes: say what and where each pixel is, [N, h * w, C].
            blocked: bool [N, Q, h * w], pixels that a query must not read.

        Returns:
            queries and pixels after the round.
        """
        tokens = pixels.flatten(2).mT
        heads = self.read_pixels.num_heads
        queries = self.read_pixels_norm(queries)
        read, _ = self.read_pixels(
            queries + query_codes,
            tokens + pixel_codes,
            tokens,
            attn_mask=blocked[:, None].expand(-1, heads, -1, -1).flatten(0, 1),
            need_weights=False,
        )
        queries = self.read_queries_norm(queries + read)
        coded = queries + query_codes
        queries = queries + self.read_queries(coded, coded, queries, need_weights=False)[0]
        queries = queries + self.narrow(F.relu(self.widen(self.feed_forward_norm(queries))))
        read, _ = self.pixels_read_queries(tokens + pixel_codes, queries + query_codes, queries, need_weights=False)
        return queries, self.blend((tokens + read).mT.unflatten(-1, pixels.shape[-2:]))


class ObjectTransformer(nn.Module):
    """Blocks, each of which lets the first half of an object's queries see its pixels, the second half all others.

    Which pixels are an object's is guessed anew before every block.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        dim, queries = config.dim, config.queries
        self.query_start = nn.Embedding(queries, dim)
        self.query_code = nn.Embedding(queries, dim)
        self.summary_start = nn.Linear(dim, dim)
        self.summary_code = nn.Linear(dim, dim)
        self.pixel_start = nn.Conv2d(dim, dim, kernel_size=1)
        self.pixel_code = nn.Conv2d(dim, dim, kernel_size=1)
        self.guesses = nn.ModuleList(nn.Conv2d(dim, 1, kernel_size=1) for _ in range(config.blocks))
        self.blocks = nn.ModuleList(ObjectBlock(config) for _ in range(config.blocks))

    def forward(self, pixels: Tensor, looks: Tensor, counts: Sequence[int]) -> Tensor:
        """Pixels [N, C, h, w] that know their objects.

        Args:
            pixels: [N, C, h, w].
            looks: what each object looks like, [N, Q, C] (`ObjectSummary.mean`).
            counts: objects of each job.
        """
        height, width = pixels.shape[-2:]
        looks = looks.to(pixels.dtype)
        queries = self.query_start.weight + self.summary_start(looks)
        query_codes = self.query_code.weight + self.summary_code(looks)
        places = sine_positions(height, width, pixels.shape[1], pixels.device).to(pixels.dtype)
        pixel_codes = self.pixel_code(pixels).flatten(2).mT + places
        pixels = self.pixel_start(pixels)
        for guess, block in zip(self.guesses, self.blocks, strict=True):
            blocked = self._blocked(guess(F.relu(pixels))[:, 0], counts)
            queries, pixels = block(queries, pixels, query_codes, pixel_codes, blocked)
        return pixels

    def _blocked(self, logits: Tensor, counts: Sequence[int]) -> Tensor:
        """Bool [N, Q, h * w] from guessed logits [N, h, w]; a query that would see nothing sees everything."""
        own = won_pixels(logits, counts).flatten(1)[:, None]
        half = self.query_start.num_embeddings // 2
        blocked = torch.cat([(~own).expand(-1, half, -1), own.expand(-1, half, -1)], dim=1)
        return blocked & ~blocked.all(dim=-1, keepdim=True)
