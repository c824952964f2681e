"""The command `uninext-infer`: the command line that all programs share, with UNINEXT behind it."""

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from mask_interchange.program import ModelRequest, RVOSProgram, rvos_app

from uninext.config import CONFIGS, DEFAULT_TOKENIZER, named_config
from uninext.errors import UninextError

if TYPE_CHECKING:
    from uninext.predict import VideoPredictor


def load(request: ModelRequest) -> "VideoPredictor":
    """Build the network that was asked for, with its weights and tokenizer."""
    _silence_libraries()
    import torch

    from uninext.detectron import build_network, uninext_cfg
    from uninext.predict import VideoPredictor
    from uninext.tokenizer import Tokenizer, encode_bytes, wordpiece_encoder

    cfg = uninext_cfg(request.config)
    if request.device != "auto":
        cfg.MODEL.DEVICE = request.device
    seed = request.weights.seed
    # Untrained weights have no vocabulary that fits; bytes will do, and nothing has to be downloaded.
    bytes_will_do = seed is not None and request.tokenizer == DEFAULT_TOKENIZER
    encode = encode_bytes if bytes_will_do else wordpiece_encoder(request.tokenizer)
    if request.weights.checkpoint is not None:
        cfg.MODEL.WEIGHTS = str(request.weights.checkpoint)
    network = build_network(cfg, seed)
    torch.set_grad_enabled(False)
    return VideoPredictor(network, Tokenizer(encode, network.config.text), request.soft_masks)


def convert(source: Path, target: Path, config: str) -> None:
    """Write a published checkpoint as safetensors with this package's names."""
    _silence_libraries()
    from uninext.checkpoint import convert_file

    convert_file(source, target, named_config(config))


def _silence_libraries() -> None:
    """Libraries warn of each other's deprecations on import; whoever only wants masks cannot act on that."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"timm\.|torch\.jit\.")


app = rvos_app(
    RVOSProgram(
        name="uninext-infer",
        version=version("uninext"),
        about="Masks of what sentences describe in videos, by UNINEXT (frame by frame).",
        configs=tuple(CONFIGS),
        config_options=("--backbone", "--config"),
        tokenizer=DEFAULT_TOKENIZER,
        error=UninextError,
        load=load,
        convert=convert,
    )
)


def main() -> None:
    """Entry point of the console script."""
    app()
