"""The command `sam2-propagate`."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer
from program_kit.errors import ProgramKitError
from program_kit.options import PrecisionOption
from program_kit.propagator_app import PropagatorProgram, PropagatorRequest, propagator_app

from grounded_sam2.config import SAM2

if TYPE_CHECKING:
    from grounded_sam2.predict import SAM2Propagator


@dataclass(frozen=True, slots=True, kw_only=True)
class SAM2Options:
    """The options that only this program has."""

    precision: PrecisionOption = "float32"
    cache: Annotated[float, typer.Option(metavar="GIB", min=0, help="Memory for features of frames.")] = 1.0


def load_sam2(request: PropagatorRequest[SAM2Options]) -> "SAM2Propagator":
    """Load the network that the options ask for."""
    from grounded_sam2.predict import SAM2Propagator

    return SAM2Propagator.load(
        request.weights.checkpoint,
        seed=request.weights.seed,
        config=request.config,
        device=request.device,
        precision=request.options.precision,
        cache_bytes=int(request.options.cache * 2**30),
    )


sam2 = propagator_app(
    PropagatorProgram(
        name="sam2-propagate",
        version=version("grounded-sam2"),
        about="Carry key frames' masks both ways through videos with SAM 2.1.",
        configs=tuple(SAM2),
        checkpoint="folder",
        error=ProgramKitError,
        options=SAM2Options,
        settings=lambda request: {"precision": request.options.precision},
        load=load_sam2,
    )
)
