"""UNINEXT: referring video segmentation frame by frame, with ViT-H or ConvNeXt-L, on detectron2.

From Python, for a video (see also `uninext.detectron` for detectron2's way, one image at a time):

    from mask_interchange import open_video
    from uninext import Tokenizer, VideoPredictor, build_network, uninext_cfg, named_encoder

    cfg = uninext_cfg("convnext-l")
    cfg.MODEL.WEIGHTS = "model_final.pth"
    network = build_network(cfg)
    predictor = VideoPredictor(network, Tokenizer(named_encoder("bert-base-uncased"), network.config.text))
    masks = predictor.predict(next(iter(open_video("dog.mp4", ["the brown dog"]).videos.values())))

Names are imported when they are first used, so that `uninext-infer --help` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uninext.config import CONFIGS, UninextConfig, named_config
    from uninext.detectron import UninextPredictor, add_uninext_config, build_network, uninext_cfg
    from uninext.errors import UninextError
    from uninext.model import Uninext, build_uninext
    from uninext.predict import VideoPredictor
    from uninext.tokenizer import Tokenizer, named_encoder

_HOMES = {
    "config": ("CONFIGS", "UninextConfig", "named_config"),
    "detectron": ("UninextPredictor", "add_uninext_config", "build_network", "uninext_cfg"),
    "errors": ("UninextError",),
    "model": ("Uninext", "build_uninext"),
    "predict": ("VideoPredictor",),
    "tokenizer": ("Tokenizer", "named_encoder"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CONFIGS",
    "Tokenizer",
    "Uninext",
    "UninextConfig",
    "UninextError",
    "UninextPredictor",
    "VideoPredictor",
    "add_uninext_config",
    "build_network",
    "build_uninext",
    "named_config",
    "named_encoder",
    "uninext_cfg",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"uninext.{_HOME_OF[name]}"), name)
