"""The command line of a referring segmentation program.

A program describes itself in a `SegmenterProgram` and gets its command line from `segmenter_app`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from mask_interchange.codec import check_room
from mask_interchange.dataset import Dataset
from mask_interchange.errors import DatasetError
from mask_interchange.json_files import Json
from mask_interchange.run import RunManifest
from mask_interchange.track import VideoMasks
from mask_interchange.video import Video

from program_kit.app import add_checkpoint_commands, plain_app, user_errors, version_option
from program_kit.errors import InputError
from program_kit.messages import log
from program_kit.options import (
    CheckpointOption,
    DamagedOption,
    DatasetOption,
    DeviceOption,
    ExpressionOption,
    ExpressionsOption,
    MemoryOption,
    OutOption,
    Precision,
    PrecisionOption,
    SoftMasksOption,
    SplitOption,
    ThreadsOption,
    VideoOption,
    VideosOption,
    WeightsOption,
    checked_device,
    config_option,
    open_source,
    set_memory,
    set_threads,
    with_options,
)
from program_kit.outputs import OutputRuns
from program_kit.progress import ProgressCallback
from program_kit.run_loop import ReadsAhead, run_videos
from program_kit.weights import TakesWeights, WeightsChoice, choose_network

__all__ = ["ModelRequest", "Predictor", "SegmenterProgram", "segmenter_app"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """What a program is asked to load.

    Attributes:
        config: one of the program's configurations.
        weights: checkpoints, or a seed.
        tokenizer: folder or hub name of the text encoder's tokenizer; empty for a program whose weights bring it.
        device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
        precision: as `program_kit.torch.precision` has it.
        soft_masks: longer side in pixels of the probabilities to store, or None.
        short_side: short side in pixels of the frames that the network sees; None for a program without the option.
        options: the program's own.
    """

    config: str
    weights: WeightsChoice
    tokenizer: str
    device: str
    precision: Precision = "strict"
    soft_masks: int | None = None
    short_side: int | None = None
    options: Any = None


@dataclass(frozen=True, slots=True)
class NoOptions:
    """Of a program that has only the shared ones."""


class Predictor(Protocol):
    """A loaded model; it may be a `program_kit.run_loop.ReadsAhead`."""

    def predict(self, video: Video, progress: ProgressCallback) -> VideoMasks:
        """Masks of all the video's expressions in all its frames."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterProgram(TakesWeights):
    """A referring segmentation program. Its name, configurations and weights are described in `TakesWeights`.

    Attributes:
        version: goes into manifests.
        about: one sentence for `--help`.
        config_options: names of the option that chooses one.
        short_side: the default of the option `--short-side`; None if the program does not have it.
        tokenizer: the tokenizer taken by default; None if the program's weights bring it.
        error: base of its user errors, which are shown without a traceback.
        load: make the model. Heavy libraries are imported inside, so that `--help` stays quick.
        convert: write a published checkpoint (source) of a configuration as safetensors (target); None for a program
            that takes published weights as they are.
        options: a dataclass of the options that only this program has, as in `PropagatorProgram`.
        settings: what a manifest says of these options: all that changes masks, as JSON.
    """

    version: str
    about: str
    tokenizer: str | None
    error: type[Exception]
    load: Callable[[ModelRequest], Predictor]
    convert: Callable[[Path, Path, str], None] | None = None
    config_options: tuple[str, ...] = ("--config",)
    short_side: int | None = None
    options: type = NoOptions
    settings: Callable[[ModelRequest], Mapping[str, Any]] = lambda request: {}

    def usual_short_side(self, config: str, weights: WeightsChoice) -> int | None:
        """The default of the option `--short-side`: what the weights were trained with, else the configuration's."""
        if self.short_side is not None and weights.origin is not None and weights.origin.short_side is not None:
            return weights.origin.short_side
        return next((bundled.short_side for bundled in self.bundled if bundled.config == config), self.short_side)


def segmenter_app(program: SegmenterProgram) -> typer.Typer:
    """The command line of a program; `--help` shows it."""
    app = plain_app(help=program.about, invoke_without_command=True)
    bundled = program.bundled
    config_choice = config_option(program.configs, bundled, *program.config_options, help="Configuration of the model.")
    add_checkpoint_commands(app, program, config_choice)
    short_side_option = typer.Option(
        "--short-side",
        metavar="PIXELS",
        min=1,
        hidden=program.short_side is None,
        help="Short side of the frames that the network sees.",
        show_default="; ".join(
            [f"{program.short_side}", *(f"{weights.short_side} for {weights.config}" for weights in bundled)]
        ),
    )

    tokenizer_option = typer.Option(hidden=program.tokenizer is None, help="Folder or hub name of the tokenizer.")

    def infer(
        context: typer.Context,
        dataset: DatasetOption = None,
        split: SplitOption = None,
        video: VideoOption = None,
        expression: ExpressionOption = None,
        expressions: ExpressionsOption = None,
        damaged: DamagedOption = "stop",
        out: OutOption = None,
        checkpoint: CheckpointOption = None,
        weights: WeightsOption = None,
        config: Annotated[str | None, config_choice] = None,
        tokenizer: Annotated[str | None, tokenizer_option] = program.tokenizer,
        videos: VideosOption = None,
        soft_masks: SoftMasksOption = None,
        short_side: Annotated[int | None, short_side_option] = None,
        device: DeviceOption = "auto",
        precision: PrecisionOption = "strict",
        memory: MemoryOption = None,
        threads: ThreadsOption = None,
        show_version: Annotated[bool, version_option(program.name, program.version)] = False,
        **own: Any,
    ) -> None:
        if context.invoked_subcommand is not None:
            return
        if out is None:
            raise typer.BadParameter("give --out RUN, the folder for the masks")
        if short_side is not None and program.short_side is None:
            raise typer.BadParameter(f"--short-side: {program.name} chooses the size of frames by itself")
        if tokenizer is not None and program.tokenizer is None:
            raise typer.BadParameter(f"--tokenizer: {program.name} takes the one beside its weights")
        with user_errors(program.name, program.error):
            threads = set_threads(threads, [out])
            set_memory(memory)
            network, chosen = choose_network(program, config, checkpoint, weights)
            request = ModelRequest(
                config=network,
                weights=chosen,
                tokenizer=tokenizer or "",
                device=checked_device(device),
                precision=precision,
                soft_masks=soft_masks,
                short_side=short_side or program.usual_short_side(network, chosen),
                options=program.options(**own),
            )
            source = open_source(dataset, split, video, expression, expressions, damaged)
            if video is not None and not source.videos[source.name].expressions:
                raise typer.BadParameter("give at least one --expression TEXT, or --expressions FILE, with --video")
            log.info(f"{program.name}: weights: {request.weights}")
            log.debug(f"{program.name}: {network}, {request.device}, {precision}, {threads} threads")
            outputs = OutputRuns.create([(out, _manifest(program, request, source, threads))], source)
            code = run_videos(
                outputs, source, lambda: _Segmenting(program.load(request), soft_masks), videos, program.error
            )
        raise typer.Exit(code)

    app.callback()(with_options(infer, program.options))
    return app


def _manifest(program: SegmenterProgram, request: ModelRequest, source: Dataset, threads: int) -> RunManifest:
    tokenizer = {} if program.tokenizer is None else {"tokenizer": request.tokenizer}
    settings = {
        "config": request.config,
        **tokenizer,
        "soft_masks": request.soft_masks,
        "precision": request.precision,
        "threads": threads,
        **program.settings(request),
    }
    if request.short_side is not None:
        settings["short_side"] = request.short_side
    return RunManifest(
        producer=program.name,
        producer_version=program.version,
        checkpoint_sha256=request.weights.sha256(),
        settings=settings | request.weights.settings,
        dataset=source.identity,
    )


class _Segmenting:
    """The masks of a predictor, for one run."""

    def __init__(self, predictor: Predictor, soft_masks: int | None) -> None:
        self._predictor = predictor
        self._soft_masks = soft_masks

    def __call__(self, video: Video, progress: ProgressCallback, details: Json) -> Sequence[VideoMasks]:
        if details:
            raise InputError(f"expected the id of a video, found an order with {', '.join(details)}")
        if not video.expressions:
            raise DatasetError(f"video {video.id!r}: has no expressions; add one to the data set")
        check_room(video.id, video.size, len(video), len(video.expressions), self._soft_masks)
        return (self._predictor.predict(video, progress),)

    def expect(self, video: Video) -> None:
        if isinstance(self._predictor, ReadsAhead):
            self._predictor.expect(video)
