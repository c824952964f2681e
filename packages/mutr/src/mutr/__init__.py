"""MUTR (Yan et al., AAAI 2024): a temporal transformer for referring segmentation; start from `MUTRPredictor`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mutr.predict import MUTRPredictor

__all__ = ["MUTRPredictor"]


def __getattr__(name: str) -> Any:
    if name == "MUTRPredictor":  # on first use: torch is slow to import, and `--help` needs none
        from mutr.predict import MUTRPredictor

        return MUTRPredictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
