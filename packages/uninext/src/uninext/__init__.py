"""UNINEXT: referring video segmentation frame by frame, with ViT-H or ConvNeXt-L; start from `UNINEXTPredictor`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uninext.predict import UNINEXTPredictor

__all__ = ["UNINEXTPredictor"]


def __getattr__(name: str) -> Any:
    if name == "UNINEXTPredictor":  # on first use: torch is slow to import, and `--help` needs none
        from uninext.predict import UNINEXTPredictor

        return UNINEXTPredictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
