"""The commands `aot-propagate` and `deaot-propagate`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from program_kit.distributions import version_of
from program_kit.propagator_app import PropagatorProgram, PropagatorRequest, propagator_app

from aot_deaot.bundled import BUNDLED
from aot_deaot.config import CONFIGS, Family, NetworkConfig, named_config
from aot_deaot.errors import PropagationError
from aot_deaot.settings import PropagationSettings, SizeLimits, corrected, faithful

if TYPE_CHECKING:
    from aot_deaot.predict import ModelPropagator


def parse_scales(text: str) -> tuple[float, ...]:
    """The numbers of `--scales`.

    Raises:
        typer.BadParameter: not numbers above 0 and up to 4 with commas between them.
    """
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale <= 4 for scale in scales):
        raise typer.BadParameter(f"--scales {text}: expected numbers above 0 and up to 4, as in 0.8,1.0,1.2")
    return scales


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagatorOptions:
    """The options that only these programs have."""

    faithful: Annotated[
        bool, typer.Option("--faithful", help="Repeat the published runner with its faults (see the README).")
    ] = False
    active_ids: Annotated[
        Literal["objects", "all"] | None,
        typer.Option(help="Which ids compete for a pixel. Default: objects; AOT --faithful: all."),
    ] = None
    feedback: Annotated[
        Literal["average", "own"] | None,
        typer.Option(help="The label fed back into memory: of the averaged views (default), or each view's own."),
    ] = None
    size_limits: Annotated[
        Literal["long", "short-and-long"] | None,
        typer.Option(
            help="Shrink frames to a long edge of 1040, or first to a short edge of 624.",
            show_default="long; demo: to the size that its weights were trained on",
        ),
    ] = None
    scales: Annotated[str, typer.Option(metavar="S,S,...", help="Scales to average over.")] = "0.8,1.0,1.2"
    flip: Annotated[bool, typer.Option(help="Also see every scale mirrored.")] = True
    long_term_cap: Annotated[
        int | None, typer.Option(metavar="FRAMES", min=2, help="Most frames in long-term memory, for long videos.")
    ] = None
    compiled: Annotated[bool, typer.Option("--compile", help="Run the network through torch.compile.")] = False
    batch: Annotated[int, typer.Option(min=1, help="Most object sets that go through a video together.")] = 4
    cache: Annotated[float, typer.Option(metavar="GIB", min=0, help="Memory for features of frames.")] = 4.0

    def __post_init__(self) -> None:
        parse_scales(self.scales)

    def settings(self, config: NetworkConfig) -> PropagationSettings:
        """The procedure for a network."""
        settings = (faithful if self.faithful else corrected)(config)
        limits = {"long": SizeLimits(), "short-and-long": SizeLimits(short_edge=624.0), None: None}[self.size_limits]
        chosen = {"active_ids": self.active_ids, "feedback": self.feedback, "limits": limits}
        return replace(
            settings,
            scales=parse_scales(self.scales),
            flip=self.flip,
            memory=replace(settings.memory, long_term_cap=self.long_term_cap),
            **{name: value for name, value in chosen.items() if value is not None},
        )


def propagator_program(family: Family, about: str) -> PropagatorProgram[PropagatorOptions]:
    """What `propagator_app` must know of a family; torch is imported when something is loaded."""

    def settings(request: PropagatorRequest[PropagatorOptions]) -> Mapping[str, Any]:
        procedure = request.options.settings(named_config(family, request.config))
        return {"procedure": asdict(procedure)}

    def load(request: PropagatorRequest[PropagatorOptions]) -> "ModelPropagator":
        from aot_deaot.predict import AOTPropagator, DeAOTPropagator

        options = request.options
        return {"aot": AOTPropagator, "deaot": DeAOTPropagator}[family].load(
            request.weights.checkpoint,
            seed=request.weights.seed,
            config=request.config,
            device=request.device,
            precision=request.precision,
            settings=options.settings,
            batch=options.batch,
            cache_bytes=int(options.cache * 2**30),
            compiled=options.compiled,
        )

    def convert(source: Path, target: Path, config: str) -> None:
        from aot_deaot.checkpoint import CHECKPOINTS

        CHECKPOINTS[family].convert(source, target, config)

    return PropagatorProgram(
        name=f"{family}-propagate",
        version=version_of("aot-deaot"),
        about=about,
        configs=tuple(CONFIGS[family]),
        error=PropagationError,
        options=PropagatorOptions,
        settings=settings,
        load=load,
        convert=convert,
        bundled=(BUNDLED[family],),
        max_objects=lambda config: named_config(family, config).max_objects,
    )


AOT = propagator_program("aot", "Carry key frames' masks both ways through videos with AOT.")
DEAOT = propagator_program("deaot", "Carry key frames' masks both ways through videos with DeAOT.")

aot = propagator_app(AOT)
deaot = propagator_app(DEAOT)
