"""Multi-object temporal interaction: the queries of all frames become a few queries for the whole clip.

Source: MTI in `models/mti.py` of OpenGVLab/MUTR.
"""

from rvos_layers.blocks.config import FrameQueryConfig
from rvos_layers.blocks.frame_query import FrameQueryTransformer
from torch import Tensor, nn


class TemporalInteraction(nn.Module):
    """A frame query transformer with windows, whose initial clip queries are learned."""

    def __init__(self, config: FrameQueryConfig, queries: int) -> None:
        super().__init__()
        self.transformer = FrameQueryTransformer(config, queries)
        self.start = nn.Embedding(queries, config.hidden_size)

    def forward(self, frame_queries: Tensor, shifts: bool = True) -> Tensor:
        """Frame queries [E, T, Q, C] to clip queries [E, Q, C]; with `shifts`, every second layer shifts windows."""
        return self.transformer(frame_queries, self.start.weight, shifts)
