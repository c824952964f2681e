"""The command `referformer-infer`."""

from typing import TYPE_CHECKING

from rvos_layers.inference.command import model_app

from referformer.bundled import BUNDLED

if TYPE_CHECKING:
    from referformer.predict import ReferFormerPredictor


def predictor() -> "type[ReferFormerPredictor]":
    """The predictor's class; importing it takes a while."""
    from referformer.predict import ReferFormerPredictor

    return ReferFormerPredictor


main = model_app(
    "referformer",
    "ReferFormer: segment in a video what sentences refer to.",
    configs=("video-swin-b", "video-swin-s", "video-swin-t", "resnet-50", "tiny", BUNDLED.config),
    short_side=360,
    bundled=BUNDLED,
    predictor=predictor,
)
