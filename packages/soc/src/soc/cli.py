"""The command `soc-infer`."""

from typing import TYPE_CHECKING

from rvos_layers.inference.command import model_app

from soc.bundled import BUNDLED
from soc.config import CONFIGS
from soc.preprocess import RESIZE

if TYPE_CHECKING:
    from soc.predict import SOCPredictor


def predictor() -> "type[SOCPredictor]":
    """Import the predictor class, which imports torch."""
    from soc.predict import SOCPredictor

    return SOCPredictor


main = model_app(
    "soc",
    "SOC: segment in a video what expressions refer to.",
    configs=tuple(CONFIGS),
    short_side=RESIZE.short,
    bundled=BUNDLED,
    predictor=predictor,
)
