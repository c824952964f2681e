"""The command `referformer-infer`."""

from typing import TYPE_CHECKING

from rvos_layers.inference.command import model_app

from referformer.bundled import BUNDLED
from referformer.config import CONFIGS
from referformer.preprocess import RESIZE

if TYPE_CHECKING:
    from referformer.predict import ReferFormerPredictor


def predictor() -> "type[ReferFormerPredictor]":
    """Import the predictor class, which imports torch."""
    from referformer.predict import ReferFormerPredictor

    return ReferFormerPredictor


main = model_app(
    "referformer",
    "ReferFormer: segment in a video what expressions refer to.",
    configs=tuple(CONFIGS),
    short_side=RESIZE.short,
    bundled=BUNDLED,
    predictor=predictor,
)
