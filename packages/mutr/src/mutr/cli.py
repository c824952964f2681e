"""The command `mutr-infer`."""

from typing import TYPE_CHECKING

from rvos_layers.inference.command import model_app

from mutr.bundled import BUNDLED
from mutr.config import CONFIGS
from mutr.preprocess import RESIZE

if TYPE_CHECKING:
    from mutr.predict import MUTRPredictor


def predictor() -> "type[MUTRPredictor]":
    """Import the predictor class, which imports torch."""
    from mutr.predict import MUTRPredictor

    return MUTRPredictor


main = model_app(
    "mutr",
    "MUTR: segment in a video what expressions refer to.",
    configs=tuple(CONFIGS),
    short_side=RESIZE.short,
    bundled=BUNDLED,
    predictor=predictor,
)
