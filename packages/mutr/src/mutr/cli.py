"""The command `mutr-infer`."""

from typing import TYPE_CHECKING

from rvos_layers.inference.command import model_app

from mutr.bundled import BUNDLED

if TYPE_CHECKING:
    from mutr.predict import MUTRPredictor


def predictor() -> "type[MUTRPredictor]":
    """The predictor's class; importing it takes a while."""
    from mutr.predict import MUTRPredictor

    return MUTRPredictor


main = model_app(
    "mutr",
    "MUTR: segment in a video what sentences refer to.",
    configs=("video-swin-b", "video-swin-s", "video-swin-t", "resnet-50", "tiny", BUNDLED.config),
    short_side=360,
    bundled=BUNDLED,
    predictor=predictor,
)
