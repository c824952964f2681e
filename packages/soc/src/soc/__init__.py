"""SOC: referring video segmentation by semantic-assisted object clusters; start from `SOCPredictor`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soc.predict import SOCPredictor

__all__ = ["SOCPredictor"]


def __getattr__(name: str) -> Any:
    if name == "SOCPredictor":  # on first use: torch is slow to import, and `--help` needs none
        from soc.predict import SOCPredictor

        return SOCPredictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
