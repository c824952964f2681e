"""The command line of a model. It imports torch only when it has work to do."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from program_kit.segmenter_app import ModelRequest, Predictor, SegmenterProgram, segmenter_app
from program_kit.weights import BundledWeights

from rvos_layers.errors import RVOSLayersError

if TYPE_CHECKING:
    from rvos_layers.inference.model_factory import ModelPredictor


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
        )

    def convert(source: Path, target: Path, config: str) -> None:
        predictor().factory.checkpoints.convert(source, target, config)

    return segmenter_app(
        SegmenterProgram(
            name=f"{package}-infer",
            version=version(package),
            about=about,
            configs=configs,
            short_side=short_side,
            bundled=(bundled,),
            tokenizer="auto",
            error=RVOSLayersError,
            load=load,
            convert=convert,
        )
    )
