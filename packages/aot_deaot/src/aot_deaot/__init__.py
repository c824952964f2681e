"""AOT and DeAOT carry masks of one frame through a video; start from `AOTPropagator` and `DeAOTPropagator`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aot_deaot.predict import AOTPropagator, DeAOTPropagator

__all__ = ["AOTPropagator", "DeAOTPropagator"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # on first use: torch is slow to import, and `--help` needs none
        from aot_deaot import predict

        return getattr(predict, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
