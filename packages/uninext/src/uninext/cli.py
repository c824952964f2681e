"""The command `uninext-infer`: the command line that all programs share, with UNINEXT behind it."""

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from program_kit.segmenter_app import ModelRequest, SegmenterProgram, segmenter_app

from uninext.bundled import BUNDLED
from uninext.config import CONFIGS, PUBLISHED_SHORT_SIDE, named_config
from uninext.errors import UninextError

if TYPE_CHECKING:
    from uninext.predict import VideoPredictor


def load(request: ModelRequest) -> "VideoPredictor":
    """Build the network that was asked for, with its weights and tokenizer."""
    _silence_libraries()
    from uninext.detectron import build_network, uninext_cfg
    from uninext.predict import VideoPredictor
    from uninext.tokenizer import Tokenizer, named_encoder

    cfg = uninext_cfg(request.config)
    if request.device != "auto":
        cfg.MODEL.DEVICE = request.device
    if request.short_side is not None:
        cfg.INPUT.MIN_SIZE_TEST = request.short_side
    if request.weights.checkpoint is not None:
        cfg.MODEL.WEIGHTS = str(request.weights.checkpoint)
    usual = named_config(request.config).text.tokenizer
    encode = named_encoder(request.tokenizer, usual=usual, random_weights=request.weights.seed is not None)
    network = build_network(cfg, request.weights.seed)
    return VideoPredictor(network, Tokenizer(encode, network.config.text), request.soft_masks)


def convert(source: Path, target: Path, config: str) -> None:
    """Write a published checkpoint as safetensors with this package's names."""
    _silence_libraries()
    from uninext.checkpoint import CHECKPOINTS

    CHECKPOINTS.convert(source, target, config)


def _silence_libraries() -> None:
    """Libraries warn of each other's deprecations on import; whoever only wants masks cannot act on that."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"timm\.|torch\.jit\.")


app = segmenter_app(
    SegmenterProgram(
        name="uninext-infer",
        version=version("uninext"),
        about="Masks of what sentences describe in videos, by UNINEXT (frame by frame).",
        configs=tuple(CONFIGS),
        config_options=("--backbone", "--config"),
        tokenizer="auto",
        short_side=PUBLISHED_SHORT_SIDE,
        bundled=tuple(BUNDLED.values()),
        error=UninextError,
        load=load,
        convert=convert,
    )
)


def main() -> None:
    """Entry point of the console script."""
    app()
