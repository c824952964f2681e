"""The command `cutie-propagate`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from program_kit.distributions import version_of
from program_kit.propagator_app import PropagatorProgram, PropagatorRequest, propagator_app

from cutie.config import CONFIGS
from cutie.errors import CutieError
from cutie.settings import LongTerm, MemoryPolicy, PropagationSettings

if TYPE_CHECKING:
    from cutie.predict import CutiePropagator


@dataclass(frozen=True, slots=True, kw_only=True)
class CutieOptions:
    """The options that only this program has."""

    long_term: Annotated[
        bool, typer.Option("--long-term", help="Keep a long-term memory as well, for videos of a minute or more.")
    ] = False
    size: Annotated[
        int, typer.Option(metavar="PIXELS", min=16, help="Frames with a longer short side are shrunk to this.")
    ] = 480
    batch: Annotated[int, typer.Option(min=1, help="Most objects that go through a video together.")] = 64
    cache: Annotated[
        float, typer.Option(metavar="GIB", min=0, help="Memory for features of frames that both directions need.")
    ] = 1.0

    @property
    def settings(self) -> PropagationSettings:
        """The procedure."""
        memory = MemoryPolicy(long_term=LongTerm() if self.long_term else None)
        return PropagationSettings(short_side=self.size, memory=memory)


def _settings(request: PropagatorRequest[CutieOptions]) -> Mapping[str, Any]:
    return {"procedure": asdict(request.options.settings)}


def _load(request: PropagatorRequest[CutieOptions]) -> "CutiePropagator":
    from cutie.predict import CutiePropagator

    options = request.options
    return CutiePropagator.load(
        request.weights.checkpoint,
        seed=request.weights.seed,
        config=request.config,
        device=request.device,
        precision=request.precision,
        settings=options.settings,
        batch=options.batch,
        cache_bytes=int(options.cache * 2**30),
    )


def _convert(source: Path, target: Path, config: str) -> None:
    from cutie.checkpoint import CHECKPOINTS

    CHECKPOINTS.convert(source, target, config)


PROGRAM = PropagatorProgram(
    name="cutie-propagate",
    version=version_of("cutie"),
    about="Carry key frames' masks both ways through videos with Cutie.",
    configs=tuple(CONFIGS),
    error=CutieError,
    options=CutieOptions,
    settings=_settings,
    load=_load,
    convert=_convert,
)

app = propagator_app(PROGRAM)
