"""Shapes of the published networks, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

Stages = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SAM2Shape:
    """Shape of a SAM 2.1 network.

    Attributes:
        blocks: of the four stages of the image encoder (Hiera).
        embed_dim: channels of the stages.
        num_heads: attention heads of the stages.
        windows: side of an attention window in each stage, in tokens.
        global_blocks: blocks that attend to the whole image.
        background: side of the window whose position embedding is interpolated to the image, in tokens.
        image_size: side of the square that every frame is resized to, in pixels.
        hidden_size: width of everything behind the image encoder.
        memory_layers: of the attention to remembered frames.
        feedforward_dim: hidden width of the feed-forward parts behind the image encoder.
    """

    blocks: Stages
    embed_dim: Stages
    num_heads: Stages
    windows: Stages
    global_blocks: tuple[int, ...]
    background: int = 7
    image_size: int = 1024
    hidden_size: int = 256
    memory_layers: int = 4
    feedforward_dim: int = 2048


SAM2: Mapping[str, SAM2Shape] = {
    "sam2.1-base-plus": SAM2Shape(
        blocks=(2, 3, 16, 3),
        embed_dim=(112, 224, 448, 896),
        num_heads=(2, 4, 8, 16),
        windows=(8, 4, 14, 7),
        global_blocks=(12, 16, 20),
        background=14,
    ),
    "sam2.1-tiny": SAM2Shape(
        blocks=(1, 2, 7, 2),
        embed_dim=(96, 192, 384, 768),
        num_heads=(1, 2, 4, 8),
        windows=(8, 4, 14, 7),
        global_blocks=(5, 7, 9),
    ),
    "sam2.1-small": SAM2Shape(
        blocks=(1, 2, 11, 2),
        embed_dim=(96, 192, 384, 768),
        num_heads=(1, 2, 4, 8),
        windows=(8, 4, 14, 7),
        global_blocks=(7, 10, 13),
    ),
    "sam2.1-large": SAM2Shape(
        blocks=(2, 6, 36, 4),
        embed_dim=(144, 288, 576, 1152),
        num_heads=(2, 4, 8, 16),
        windows=(8, 4, 16, 8),
        global_blocks=(23, 33, 43),
    ),
    # Not a published model: a miniature for tests and trials.
    "tiny": SAM2Shape(
        blocks=(1, 1, 2, 1),
        embed_dim=(16, 32, 64, 128),
        num_heads=(1, 2, 4, 8),
        windows=(8, 4, 4, 4),
        global_blocks=(3,),
        image_size=128,
        hidden_size=128,
        memory_layers=2,
        feedforward_dim=64,
    ),
}
