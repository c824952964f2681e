"""The command line of a model. It imports torch only when it has work to do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mask_interchange.codec import MAX_FRAMES
from program_kit.distributions import version_of
from program_kit.segmenter_app import ModelRequest, Predictor, SegmenterProgram, segmenter_app
from program_kit.weights import BundledWeights

from rvos_layers.errors import RVOSLayersError
from rvos_layers.inference.config import Windows

if TYPE_CHECKING:
    from rvos_layers.inference.model_factory import ModelPredictor


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOptions:
    """How long videos are cut; see `rvos_layers.inference.windows`."""

    window: Annotated[
        int | None,
        typer.Option(
            metavar="FRAMES",
            min=2,
            max=MAX_FRAMES,
            help="Cut long videos into windows of so many frames; not published.",
        ),
    ] = None
    overlap: Annotated[
        int | None,
        typer.Option(metavar="FRAMES", min=1, help="Frames that neighbouring windows share; by default a quarter."),
    ] = None


def _settings(request: ModelRequest) -> dict[str, object]:
    """What a manifest says of the windows; runs without them are as they were before windows existed."""
    windows = Windows.of(request.options.window, request.options.overlap)
    return {} if windows is None else {"window": windows.frames, "overlap": windows.overlap}


def model_app(
    package: str,
    about: str,
    *,
    configs: tuple[str, ...],
    short_side: int,
    bundled: BundledWeights,
    predictor: "Callable[[], type[ModelPredictor]]",
) -> typer.Typer:
    """The command `<package>-infer`.

    Args:
        package: distribution of the program.
        about: one sentence for `--help`.
        configs: names of the predictor's configurations, the default first.
        short_side: default of `--short-side`, in pixels.
        bundled: the weights that the package bundles.
        predictor: imports the predictor class and returns it.
    """

    def load(request: ModelRequest) -> Predictor:
        return predictor().load(
            request.weights.checkpoint,
            seed=request.weights.seed,
            config=request.config,
            device=request.device,
            precision=request.precision,
            tokenizer=request.tokenizer,
            soft_masks=request.soft_masks,
            short_side=request.short_side,
            window=request.options.window,
            overlap=request.options.overlap,
        )

    def convert(source: Path, target: Path, config: str) -> None:
        predictor().factory.checkpoints.convert(source, target, config)

    return segmenter_app(
        SegmenterProgram(
            name=f"{package}-infer",
            version=version_of(package),
            about=about,
            configs=configs,
            short_side=short_side,
            bundled=(bundled,),
            tokenizer="auto",
            error=RVOSLayersError,
            load=load,
            convert=convert,
            options=WindowOptions,
            settings=_settings,
        )
    )
