"""The command `soc-infer`."""

from typing import TYPE_CHECKING

from rvos_layers.inference.command import model_app

from soc.bundled import BUNDLED

if TYPE_CHECKING:
    from soc.predict import SOCPredictor


def predictor() -> "type[SOCPredictor]":
    """The predictor's class; importing it takes a while."""
    from soc.predict import SOCPredictor

    return SOCPredictor


main = model_app(
    "soc",
    "SOC: segment in a video what sentences refer to.",
    configs=("joint-base", "tiny", BUNDLED.config),
    short_side=360,
    bundled=BUNDLED,
    predictor=predictor,
)
