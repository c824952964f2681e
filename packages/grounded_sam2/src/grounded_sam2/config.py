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


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundingDINOShape:
    """Shape of a Grounding DINO network.

    Attributes:
        embed_dim: channels of the first stage of the image encoder (Swin).
        depths: blocks of its four stages.
        num_heads: attention heads of the stages.
        window: side of an attention window, in tokens.
        short_side: of the frames that the network sees, in pixels.
        long_side: no frame is longer.
        hidden_size: width of encoder and decoder.
        layers: of each of them.
        feedforward_dim: hidden width of their feed-forward parts.
        text_size: width of the text encoder (BERT).
        text_layers: of the text encoder.
        vocab_size: words that it knows.
        num_queries: boxes that are found in a frame.
    """

    embed_dim: int
    depths: Stages
    num_heads: Stages
    window: int
    short_side: int = 800
    long_side: int = 1333
    hidden_size: int = 256
    layers: int = 6
    feedforward_dim: int = 2048
    text_size: int = 768
    text_layers: int = 12
    vocab_size: int = 30522
    num_queries: int = 900


GROUNDING_DINO: Mapping[str, GroundingDINOShape] = {
    "grounding-dino-base": GroundingDINOShape(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window=12),
    "grounding-dino-tiny": GroundingDINOShape(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), window=7),
    # Not a published model: a miniature for tests and trials.
    "tiny": GroundingDINOShape(
        embed_dim=16,
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 4, 8),
        window=4,
        short_side=64,
        long_side=128,
        hidden_size=32,
        layers=2,
        feedforward_dim=64,
        text_size=32,
        text_layers=1,
        vocab_size=1200,
        num_queries=30,
    ),
}

NETWORKS = ("detector", "segmenter")  # of the program that finds what sentences describe
# Both, by the names above.
GROUNDED: Mapping[str, tuple[str, str]] = {
    **{
        f"{detector}_{segmenter}": (detector, segmenter)
        for detector in GROUNDING_DINO
        for segmenter in SAM2
        if "tiny" not in (detector, segmenter)
    },
    "tiny": ("tiny", "tiny"),
}
