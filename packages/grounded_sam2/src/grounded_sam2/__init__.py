"""SAM 2.1 carries masks through a video, Grounding DINO finds what to carry; begin with one of these."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grounded_sam2.grounded import GroundedSAM2Predictor
    from grounded_sam2.predict import SAM2Propagator

__all__ = ["GroundedSAM2Predictor", "SAM2Propagator"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # on first use: torch is slow to import, and `--help` needs none
        from grounded_sam2 import grounded, predict

        return getattr(predict if name == "SAM2Propagator" else grounded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
