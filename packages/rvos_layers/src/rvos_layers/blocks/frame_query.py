"""The object queries of all frames become a few queries for the whole clip.

MUTR calls it temporal interaction (`models/mti.py`), SOC object cluster (`models/vita.py`, after VITA, Heo et al.,
2022). They differ in the window within which frames attend to each other, and in how the clip's queries are
initialised. The published code mixes the clips of a batch; here clips stay apart.

Shapes: E clips (or expressions), T frames, Q queries, C channels.
"""

import torch
from program_kit.torch.checkpoint.table import Rename, Rule
from torch import Tensor, nn
from torch.nn import functional

from rvos_layers.blocks.attention import AttentionLayer, FeedForward, attention_layer_rules
from rvos_layers.blocks.config import FrameQueryConfig


class FrameEncoderLayer(nn.Module):
    """Self-attention among the queries of neighbouring frames, then feed-forward."""

    def __init__(self, config: FrameQueryConfig) -> None:
        super().__init__()
        self.window = config.window
        self.attention = AttentionLayer(config.hidden_size, config.num_heads, config.dropout)
        self.feedforward = FeedForward(config.hidden_size, config.feedforward_dim, config.dropout)

    def forward(self, queries: Tensor, shifted: bool) -> Tensor:
        """Map frame queries [E, T, Q, C] to the same shape; `shifted` windows begin half a window earlier."""
        clips, frames, count, _ = queries.shape
        window = self.window or frames
        before = window // 2 if shifted and self.window else 0
        after = -(before + frames) % window
        padded = functional.pad(queries, (0, 0, 0, 0, before, after))
        index = torch.arange(padded.shape[1], device=queries.device)
        is_frame = (index >= before) & (index < before + frames)
        visible = is_frame.unflatten(0, (-1, window)).repeat_interleave(count, dim=1)  # [windows, W*Q]
        attended = self.attention(
            padded.unflatten(1, (-1, window)).flatten(0, 1).flatten(1, 2),  # [E*windows, W*Q, C]
            mask=visible.repeat(clips, 1)[:, None, None] if before or after else None,
        )
        by_frame = attended.reshape(clips, -1, count, queries.shape[-1])
        return self.feedforward(by_frame[:, before : before + frames])


class ClipDecoderLayer(nn.Module):
    """Clip queries attend to all frame queries, then to each other."""

    def __init__(self, config: FrameQueryConfig) -> None:
        super().__init__()
        self.cross_attention = AttentionLayer(config.hidden_size, config.num_heads, config.dropout)
        self.self_attention = AttentionLayer(config.hidden_size, config.num_heads, config.dropout)
        self.feedforward = FeedForward(config.hidden_size, config.feedforward_dim, config.dropout)

    def forward(self, x: Tensor, position: Tensor, memory: Tensor, memory_position: Tensor) -> Tensor:
        """Map clip queries [E, Q, C], given frame queries [E, T*Q, C]."""
        x = self.cross_attention(x, memory, position=position, memory_position=memory_position)
        return self.feedforward(self.self_attention(x, position=position))


class FrameQueryTransformer(nn.Module):
    """Encoder over frames, decoder to clip queries.

    Args:
        config: sizes.
        queries: Q, of a frame and of the clip.
    """

    def __init__(self, config: FrameQueryConfig, queries: int) -> None:
        super().__init__()
        self.exchanges = nn.ModuleList(FrameEncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(ClipDecoderLayer(config) for _ in range(config.decoder_layers))
        self.frame_position = nn.Embedding(queries, config.hidden_size)  # the same in all frames
        self.query_position = nn.Embedding(queries, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        for parameter in (*self.exchanges.parameters(), *self.decoder.parameters()):
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, frame_queries: Tensor, query_init: Tensor, shifts: bool = True) -> Tensor:
        """Clip queries [E, Q, C].

        Args:
            frame_queries: [E, T, Q, C].
            query_init: initial clip queries, broadcastable to [E, Q, C].
            shifts: as in `encode`.
        """
        encoded = self.encode(frame_queries, shifts)
        clips, frames, count, channels = encoded.shape
        memory = encoded.flatten(1, 2)
        memory_position = self.frame_position.weight.repeat(frames, 1)
        x = query_init.expand(clips, count, channels)
        for layer in self.decoder:
            x = layer(x, self.query_position.weight, memory, memory_position)
        return self.norm(x)

    def encode(self, frame_queries: Tensor, shifts: bool = True) -> Tensor:
        """Frame queries [E, T, Q, C] after the encoder. With `shifts`, every second layer shifts its windows."""
        for index, layer in enumerate(self.exchanges):
            frame_queries = layer(frame_queries, shifted=shifts and index % 2 == 1)
        return frame_queries


def frame_query_rules(published: str, ours: str) -> list[Rule]:
    """Rules for a frame query transformer."""
    encoder, decoder = f"{ours}.exchanges.{{i}}", f"{ours}.decoder.{{i}}"
    layers = f"{published}.transformer"
    return [
        *attention_layer_rules(f"{published}.enc_self_attn.{{i}}", "self_attn", f"{encoder}.attention"),
        Rename(f"{published}.enc_ffn.{{i}}.{{*}}", f"{encoder}.feedforward.{{*}}"),
        *attention_layer_rules(
            f"{layers}_cross_attention_layers.{{i}}", "multihead_attn", f"{decoder}.cross_attention"
        ),
        *attention_layer_rules(f"{layers}_self_attention_layers.{{i}}", "self_attn", f"{decoder}.self_attention"),
        Rename(f"{layers}_ffn_layers.{{i}}.{{*}}", f"{decoder}.feedforward.{{*}}"),
        Rename(f"{published}.fq_pos.weight", f"{ours}.frame_position.weight"),
        Rename(f"{published}.query_embed.weight", f"{ours}.query_position.weight"),
        Rename(f"{published}.decoder_norm.{{*}}", f"{ours}.norm.{{*}}"),
    ]
