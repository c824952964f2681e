"""ReferFormer (Wu et al., CVPR 2022): segmentation with language as queries; start from `ReferFormerPredictor`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from referformer.predict import ReferFormerPredictor

__all__ = ["ReferFormerPredictor"]


def __getattr__(name: str) -> Any:
    if name == "ReferFormerPredictor":  # on first use: torch is slow to import, and `--help` needs none
        from referformer.predict import ReferFormerPredictor

        return ReferFormerPredictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
