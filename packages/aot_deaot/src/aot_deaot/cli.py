"""`aot-propagate` and `deaot-propagate`."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from mask_interchange.errors import MaskInterchangeError
from program_kit.app import plain_app, user_errors
from program_kit.options import (
    CheckpointOption,
    DatasetOption,
    DeviceOption,
    SoftMasksOption,
    SplitOption,
    ThreadsOption,
    VideoOption,
    VideosOption,
    WeightsOption,
    checked_device,
    limit_threads,
    open_source,
)
from program_kit.run_loop import run_videos
from program_kit.weights import WeightsChoice, choose_network, parse_seed

from aot_deaot.bundled import BUNDLED
from aot_deaot.config import CONFIGS, Family, named_config
from aot_deaot.errors import ConfigError, InputError, PropagationError

if TYPE_CHECKING:
    from mask_interchange import Dataset, MaskRun, RunManifest, Video
    from program_kit.progress import ProgressCallback

    from aot_deaot.predict import PropagatedVideo
    from aot_deaot.propagate import Propagator, Settings

ABOUT = {
    "aot": "Carry key frames' masks both ways through videos with AOT.",
    "deaot": "Carry key frames' masks both ways through videos with DeAOT.",
}
Precision = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asks for, checked as far as that needs no heavy library."""

    family: Family
    config: str
    weights: WeightsChoice
    device: str
    faithful: bool
    active_ids: str | None
    feedback: str | None
    size_limits: Literal["long", "short-and-long"] | None
    scales: tuple[float, ...]
    flip: bool
    long_term_cap: int | None
    precision: Precision
    compiled: bool
    cache_bytes: int
    batch: int
    soft_masks: int | None

    @property
    def program(self) -> str:
        """Name of the command."""
        return f"{self.family}-propagate"

    def settings(self) -> "Settings":
        """The procedure."""
        from aot_deaot.preprocess import SizeLimits
        from aot_deaot.propagate import corrected, faithful

        network = named_config(self.family, self.config)
        settings = (faithful if self.faithful else corrected)(network)
        limits = {"long": SizeLimits(), "short-and-long": SizeLimits(short_edge=624.0), None: None}[self.size_limits]
        switches = {"active_ids": self.active_ids, "feedback": self.feedback, "limits": limits}
        return replace(
            settings,
            scales=self.scales,
            flip=self.flip,
            memory=replace(settings.memory, long_term_cap=self.long_term_cap),
            **{name: value for name, value in switches.items() if value is not None},
        )

    def manifest(self, dataset: "Dataset", source: dict[str, Any]) -> "RunManifest":
        """What the output run says of itself: everything that changes masks."""
        from mask_interchange import RunManifest

        settings = {
            "config": self.config,
            "precision": self.precision,
            "soft_masks": self.soft_masks,
            "procedure": asdict(self.settings()),
            "source": source,
        }
        return RunManifest(
            producer=self.program,
            producer_version=version("aot-deaot"),
            checkpoint_sha256=self.weights.sha256(),
            settings=settings | self.weights.settings,
            dataset=dataset.identity,
        )

    def load(self) -> "Propagator":
        """Network and settings, ready to run."""
        import torch

        from aot_deaot.checkpoint import load_network, random_network
        from aot_deaot.propagate import Propagator

        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError(f"--device {device}: torch sees no CUDA device here; use --device cpu")
        config = named_config(self.family, self.config)
        if self.weights.checkpoint is not None:
            network = load_network(self.weights.checkpoint, config)
        else:
            assert self.weights.seed is not None
            network = random_network(self.weights.seed, config)
        return Propagator(
            network.to(device),
            self.settings(),
            cache_bytes=self.cache_bytes,
            batch=self.batch,
            precision=self.precision,
            compiled=self.compiled,
        )


def propagator_app(family: Family) -> typer.Typer:
    """The command line of one family; `--help` shows it."""
    app = plain_app(help=ABOUT[family], invoke_without_command=True)
    checkpoint_app = plain_app(help="Checkpoint files.", no_args_is_help=True)
    app.add_typer(checkpoint_app, name="checkpoint")
    configs = list(CONFIGS[family])
    usual = f"{configs[0]}; {BUNDLED[family].config} for the weights that the program ships"
    config_option = typer.Option("--config", metavar="|".join(configs), help="Which network.", show_default=usual)

    @app.callback()
    def propagate(
        context: typer.Context,
        dataset: DatasetOption = None,
        split: SplitOption = None,
        video: VideoOption = None,
        masks: Annotated[
            list[Path] | None,
            typer.Option(metavar="RUN", help="Run whose key frames are propagated; repeat for several at once."),
        ] = None,
        mask: Annotated[
            Path | None, typer.Option(metavar="PNG", help="Indexed mask of one frame of --video, instead of --masks.")
        ] = None,
        frame: Annotated[int, typer.Option(help="The frame that --mask belongs to, counted from 0.")] = 0,
        out: Annotated[
            list[Path] | None,
            typer.Option(metavar="RUN", help="Run folder to write or continue; one for each --masks, in order."),
        ] = None,
        checkpoint: CheckpointOption = None,
        weights: WeightsOption = None,
        config: Annotated[str | None, config_option] = None,
        videos: VideosOption = None,
        faithful: Annotated[
            bool, typer.Option("--faithful", help="Repeat the published runner with its faults (see the README).")
        ] = False,
        active_ids: Annotated[
            Literal["objects", "all"] | None,
            typer.Option(help="Which ids compete for a pixel. Default: objects; AOT --faithful: all."),
        ] = None,
        feedback: Annotated[
            Literal["average", "own"] | None,
            typer.Option(help="The label fed back into memory: of the averaged views (default), or each view's own."),
        ] = None,
        size_limits: Annotated[
            Literal["long", "short-and-long"] | None,
            typer.Option(
                help="Shrink frames to a long edge of 1040, or first to a short edge of 624.",
                show_default="long; demo: to the size that its weights were trained on",
            ),
        ] = None,
        scales: Annotated[str, typer.Option(metavar="S,S,...", help="Scales to average over.")] = "0.8,1.0,1.2",
        flip: Annotated[bool, typer.Option(help="Also see every scale mirrored.")] = True,
        long_term_cap: Annotated[
            int | None,
            typer.Option(metavar="FRAMES", min=2, help="Most frames in long-term memory, for long videos."),
        ] = None,
        more_objects: Annotated[
            bool, typer.Option("--more-objects", help="Allow ids beyond the network's limit in --mask.")
        ] = False,
        soft_masks: SoftMasksOption = None,
        precision: Annotated[Precision, typer.Option(help="Half precisions are meant for accelerators.")] = "float32",
        compiled: Annotated[bool, typer.Option("--compile", help="Run the network through torch.compile.")] = False,
        batch: Annotated[int, typer.Option(min=1, help="Most object sets that go through a video together.")] = 4,
        cache: Annotated[float, typer.Option(metavar="GIB", min=0, help="Memory for features of frames.")] = 4.0,
        device: DeviceOption = "auto",
        threads: ThreadsOption = None,
    ) -> None:
        if context.invoked_subcommand is not None:
            return
        if (mask is None) == (not masks):
            raise typer.BadParameter("give either --masks RUN (one or more) or --mask PNG with --video")
        if mask is not None and video is None:
            raise typer.BadParameter("--mask goes with --video; for a data set give --masks RUN")
        if len(out or ()) != max(1, len(masks or ())):
            raise typer.BadParameter(
                f"give one --out RUN for each --masks, in the same order: "
                f"expected {max(1, len(masks or ()))}, found {len(out or ())}"
            )
        with user_errors(f"{family}-propagate"):
            network, chosen = choose_network(configs, (BUNDLED[family],), config, checkpoint, parse_seed(weights))
        limit_threads(threads)
        request = Request(
            family=family,
            config=network,
            weights=chosen,
            device=checked_device(device),
            faithful=faithful,
            active_ids=active_ids,
            feedback=feedback,
            size_limits=size_limits,
            scales=_scales(scales),
            flip=flip,
            long_term_cap=long_term_cap,
            precision=precision,
            compiled=compiled,
            cache_bytes=int(cache * 2**30),
            batch=batch,
            soft_masks=soft_masks,
        )
        with user_errors(request.program, PropagationError):
            typer.echo(f"{request.program}: weights: {request.weights}", err=True)
            if mask is not None:
                code = _segment_video(request, open_source(None, split, video), mask, frame, more_objects, out or [])
            else:
                code = _propagate_runs(request, dataset, split, video, masks or [], out or [], videos)
        raise typer.Exit(code)

    @checkpoint_app.command("convert")
    def convert(
        source: Annotated[Path, typer.Argument(help="Published checkpoint file.")],
        target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
        config: Annotated[str | None, config_option] = None,
    ) -> None:
        """Write a published checkpoint as safetensors with this package's names."""
        with user_errors(f"{family}-propagate", PropagationError):
            from aot_deaot.checkpoint import convert as convert_checkpoint

            name = config or configs[0]
            convert_checkpoint(source, target, named_config(family, name), name)

    return app


def _propagate_runs(
    request: Request,
    dataset: Path | None,
    split: str | None,
    video: Path | None,
    masks: list[Path],
    out: list[Path],
    videos: str | None,
) -> int:
    from mask_interchange import MaskRun

    sources = [MaskRun.open(path) for path in masks]
    data = open_source(dataset, split, video, _sentences(sources[0]) if video else None)
    for run in sources:
        _check_dataset(run, data)
    from aot_deaot.predict import OutputRuns, propagate_tracks

    outputs = OutputRuns([_output(request, data, path, run) for path, run in zip(out, sources, strict=True)])

    def load() -> "Callable[[Video, ProgressCallback], PropagatedVideo]":
        propagator = request.load()

        def process(video: "Video", report: "ProgressCallback") -> "PropagatedVideo":
            found = [run.read(video.id) for run in sources]
            return propagate_tracks(propagator, video, found, report, request.soft_masks)

        return process

    return run_videos(outputs, data, load, videos, PropagationError)


def _segment_video(
    request: Request, data: "Dataset", mask: Path, frame: int, more_objects: bool, out: list[Path]
) -> int:
    from hashlib import sha256

    from mask_interchange import MaskRun, VideoMasks

    from aot_deaot.predict import propagate_labels, read_labels

    labels = read_labels(mask, named_config(request.family, request.config).max_objects, more_objects=more_objects)
    source = {"mask_sha256": sha256(labels.tobytes()).hexdigest(), "size": list(labels.shape), "frame": frame}
    run = MaskRun.create(out[0], request.manifest(data, source))

    def load() -> "Callable[[Video, ProgressCallback], VideoMasks]":
        propagator = request.load()
        return lambda video, report: propagate_labels(propagator, video, frame, labels, report, request.soft_masks)

    return run_videos(run, data, load, None, PropagationError)


def _output(request: Request, data: "Dataset", path: Path, source: "MaskRun") -> "MaskRun":
    from hashlib import sha256

    from mask_interchange import MaskRun

    if path.resolve() == source.path.resolve():
        raise InputError(f"--out {path} is the run that --masks reads; give another folder")
    manifest = sha256(source.manifest.to_json().encode()).hexdigest()
    return MaskRun.create(path, request.manifest(data, {"run": source.name, "manifest_sha256": manifest}))


def _check_dataset(run: "MaskRun", data: "Dataset") -> None:
    theirs, ours = run.manifest.dataset, data.identity
    if theirs["fingerprint"] not in (None, ours["fingerprint"]):
        raise InputError(
            f"--masks {run.path}: the masks were made on another data set ({theirs['name']}, split {theirs['split']}) "
            f"than {ours['name']}, split {ours['split']}: videos, frames or expressions differ; give the right one"
        )


def _sentences(run: "MaskRun") -> list[str]:
    """The expressions of a run over one video: they are part of what that video was opened with."""
    try:
        tracks = run.read(run.videos()[0]).tracks if run.videos() else ()
    except MaskInterchangeError:
        return []  # the same error is raised again, and reported, where the video is processed
    return [track.expression.text for track in tracks if track.expression.text is not None]


def _scales(text: str) -> tuple[float, ...]:
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale <= 4 for scale in scales):
        raise typer.BadParameter(f"--scales {text}: expected numbers above 0 and up to 4, as in 0.8,1.0,1.2")
    return scales


aot = propagator_app("aot")
deaot = propagator_app("deaot")
