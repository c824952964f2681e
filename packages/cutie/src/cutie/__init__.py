"""Cutie carries masks of one frame through a video; start from `CutiePropagator`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cutie.predict import CutiePropagator

__all__ = ["CutiePropagator"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # on first use: torch is slow to import, and `--help` needs none
        from cutie import predict

        return getattr(predict, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
