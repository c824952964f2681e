"""What the command lines of all programs share: options, run loop, progress, worker protocol, exit codes.

A segmentation program describes itself in an `RVOSProgram` and gets its command line from `rvos_app`. A program of
another kind (a propagator) takes the option types, `open_source`, `Weights`, `expected_errors` and `run_videos` from
here and adds its own options.

Exit codes: 0 done; 1 some videos failed, or the disk is full; 2 wrong use; 130 interrupted.
Results go to the run, messages to standard error; only a worker writes to standard output, one JSON line per event.
"""

import errno
import hashlib
import io
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Generic, Protocol, TextIO, TypeVar

import typer

from mask_interchange.errors import DatasetError, MaskInterchangeError, RunError

if TYPE_CHECKING:
    from mask_interchange.dataset import Dataset, Video
    from mask_interchange.run import MaskRun
    from mask_interchange.track import VideoMasks

Report = Callable[[int, int], None]  # units of work done, units in all; for progress only
Process = Callable[["Video", Report], "VideoMasks"]


class Result(Protocol):
    """What a program makes of one video; `VideoMasks`, or several of them where it writes several runs at once."""

    @property
    def video(self) -> str:
        """The video's id."""
        ...

    @property
    def frame_names(self) -> tuple[str, ...]:
        """The video's frames."""
        ...


R = TypeVar("R", bound=Result)
R_in = TypeVar("R_in", bound=Result, contravariant=True)


class Sink(Protocol[R_in]):
    """Where results go: a `MaskRun`, or several that are written together."""

    @property
    def path(self) -> Path:
        """For messages."""
        ...

    def has(self, video: str) -> bool:
        """Whether the video is finished."""
        ...

    def missing(self, videos: Iterable[str]) -> list[str]:
        """Those of `videos` that are not finished."""
        ...

    def write(self, masks: R_in, /) -> None:
        """Write a video's result, whole or not at all."""
        ...

    def writing(self, *, shared: bool = False) -> AbstractContextManager[object]:
        """Hold the lock while writing."""
        ...


DatasetOption = Annotated[
    Path | None, typer.Option("--dataset", metavar="ROOT", help="Data set folder in the Ref-YouTube-VOS layout.")
]
SplitOption = Annotated[str | None, typer.Option("--split", help="Split of the data set, where there are several.")]
VideoOption = Annotated[
    Path | None,
    typer.Option("--video", metavar="PATH", help="One video file or folder of frames instead of a data set."),
]
ExpressionOption = Annotated[
    list[str] | None, typer.Option("--expression", "-e", metavar="TEXT", help="What to segment in --video; repeatable.")
]
ExpressionsOption = Annotated[
    Path | None,
    typer.Option("--expressions", metavar="FILE", help="UTF-8 file with one expression a line, for --video."),
]
VideosOption = Annotated[
    str | None,
    typer.Option("--videos", metavar="ID,ID|-", help="Only these videos; '-' reads ids from standard input (worker)."),
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="RUN", help="Run folder to write or to continue.")]
CheckpointOption = Annotated[Path | None, typer.Option("--checkpoint", metavar="PATH", help="Weights file.")]
WeightsOption = Annotated[
    str | None, typer.Option("--weights", metavar="random:SEED", help="Untrained weights, for trying things out.")
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda[:i]", help="Where to compute.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")]
SoftMasksOption = Annotated[
    int | None,
    typer.Option("--soft-masks", metavar="PIXELS", min=1, help="Also store probabilities, longer side this long."),
]


# --- what a segmentation program is ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """Small weights that a program ships, so that it can do something before anything is downloaded.

    Attributes:
        weights: the file.
        config: the configuration that they are of.
        stands_for: the published configuration that this is a small version of, where a program ships several; who asks
            for it and has no weights gets these.
        short_side: of the frames that they were trained on, in pixels; None for a program without the option.
    """

    weights: Path
    config: str = "demo"
    stands_for: str | None = None
    short_side: int | None = None

    @property
    def available(self) -> bool:
        """Whether the file is there; weights are made by a tool of their own, after the program."""
        return self.weights.is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights that were asked for: a file, or random ones drawn from a seed. One of the two is None.

    Attributes:
        checkpoint: the file.
        seed: of random ones.
        shipped: the file came with the program, because nothing was asked for.
    """

    checkpoint: Path | None = None
    seed: int | None = None
    shipped: bool = False

    @classmethod
    def chosen(cls, checkpoint: Path | None, weights: str | None) -> "Weights":
        """The weights of the options `--checkpoint` and `--weights`.

        Raises:
            typer.BadParameter: both or neither, or not of the form `random:SEED`.
        """
        if (checkpoint is None) == (weights is None):
            raise typer.BadParameter("give either --checkpoint PATH or --weights random:SEED")
        if checkpoint is not None:
            if not checkpoint.is_file():
                raise typer.BadParameter(f"--checkpoint {checkpoint}: no such file")
            return cls(checkpoint=checkpoint)
        match = re.fullmatch(r"random:([0-9]{1,9})", weights or "")
        if not match:
            raise typer.BadParameter(f"--weights {weights}: expected random:SEED, for instance random:0")
        return cls(seed=int(match[1]))

    @property
    def settings(self) -> dict[str, str]:
        """What a manifest's settings say of them, beside its `checkpoint_sha256`."""
        return {} if self.seed is None else {"weights": f"random:{self.seed}"}

    def sha256(self) -> str | None:
        """SHA-256 of the file, None for random weights."""
        if self.checkpoint is None:
            return None
        with open(self.checkpoint, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def __str__(self) -> str:
        if self.seed is not None:
            return f"random, seed {self.seed} (untrained: masks mean nothing)"
        if self.shipped:
            return "demo (a small network trained on drawn videos; --checkpoint PATH takes published ones)"
        return f"{self.checkpoint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """What a program is asked to load.

    Attributes:
        config: one of the program's configurations.
        weights: a checkpoint file or a seed.
        tokenizer: folder or hub name of the text encoder's tokenizer.
        device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
        soft_masks: longer side in pixels of the probabilities to store, or None.
        short_side: short side in pixels of the frames that the network sees; None for a program without the option.
    """

    config: str
    weights: Weights
    tokenizer: str
    device: str
    soft_masks: int | None = None
    short_side: int | None = None


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, video: "Video", report: Report) -> "VideoMasks":
        """Masks of all the video's expressions in all its frames."""
        ...


def known_config(configs: Sequence[str], config: str) -> str:
    """`config`, if there is one of this name.

    Raises:
        typer.BadParameter: there is none; names those that there are.
    """
    if config not in configs:
        raise typer.BadParameter(f"--config {config}: expected one of {', '.join(configs)}")
    return config


def chosen_network(
    configs: Sequence[str], demos: Sequence[Demo], config: str | None, checkpoint: Path | None, weights: str | None
) -> tuple[str, Weights]:
    """Configuration and weights of the options `--config`, `--checkpoint` and `--weights`.

    Args:
        configs: names of a program's configurations, the default first.
        demos: the weights that it ships, the default first.
        config, checkpoint, weights: the options.

    Raises:
        typer.BadParameter: as `Weights.chosen`; or no such configuration, or none that weights are shipped of.
    """
    known = known_config(configs, config or configs[0])
    there = [demo for demo in demos if demo.available]
    if checkpoint is not None or weights is not None or not there:
        return known, Weights.chosen(checkpoint, weights)
    for demo in there:
        if config in (None, demo.config, demo.stands_for):
            return demo.config, Weights(checkpoint=demo.weights, shipped=True)
    raise typer.BadParameter(
        f"--config {config}: this program ships weights of {', '.join(demo.config for demo in there)} only; "
        "give --checkpoint PATH or --weights random:SEED"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RVOSProgram:
    """A referring segmentation program.

    Attributes:
        name: of its command.
        version: goes into manifests.
        about: one sentence for `--help`.
        configs: names of its configurations, the default first.
        config_options: names of the option that chooses one.
        short_side: the default of the option `--short-side`; None if the program does not have it.
        demos: the weights that it ships, used when neither a checkpoint nor random weights are asked for, the default
            first.
        tokenizer: the tokenizer taken by default.
        error: base of the errors that are the user's to mend; shown without a traceback.
        load: make the model. Heavy libraries are imported inside, so that `--help` stays quick.
        convert: write a published checkpoint (source) of a configuration as safetensors (target).
    """

    name: str
    version: str
    about: str
    configs: tuple[str, ...]
    tokenizer: str
    error: type[Exception]
    load: Callable[[ModelRequest], Predictor]
    convert: Callable[[Path, Path, str], None]
    config_options: tuple[str, ...] = ("--config",)
    short_side: int | None = None
    demos: tuple[Demo, ...] = ()

    def usual_short_side(self, config: str) -> int | None:
        """The default of the option `--short-side` for a configuration."""
        return next((demo.short_side for demo in self.demos if demo.config == config), self.short_side)


def rvos_app(program: RVOSProgram) -> typer.Typer:
    """The command line of a program; `--help` shows it."""
    app = plain_app(help=program.about, invoke_without_command=True)
    checkpoint_app = plain_app(help="Checkpoint files.", no_args_is_help=True)
    app.add_typer(checkpoint_app, name="checkpoint")
    usual_config = program.configs[0]
    demos = program.demos
    shipped = f"; {' or '.join(demo.config for demo in demos)} for the weights that the program ships" if demos else ""
    config_option = typer.Option(
        *program.config_options,
        metavar="|".join(program.configs),
        help="Configuration of the model.",
        show_default=usual_config + shipped,
    )
    short_side_option = typer.Option(
        "--short-side",
        metavar="PIXELS",
        min=1,
        hidden=program.short_side is None,
        help="Short side of the frames that the network sees.",
        show_default="; ".join(
            [f"{program.short_side}", *(f"{demo.short_side} for {demo.config}" for demo in program.demos)]
        ),
    )

    @app.callback()
    def infer(
        context: typer.Context,
        dataset: DatasetOption = None,
        split: SplitOption = None,
        video: VideoOption = None,
        expression: ExpressionOption = None,
        expressions: ExpressionsOption = None,
        out: OutOption = None,
        checkpoint: CheckpointOption = None,
        weights: WeightsOption = None,
        config: Annotated[str | None, config_option] = None,
        tokenizer: Annotated[str, typer.Option(help="Folder or hub name of the tokenizer.")] = program.tokenizer,
        videos: VideosOption = None,
        soft_masks: SoftMasksOption = None,
        short_side: Annotated[int | None, short_side_option] = None,
        device: DeviceOption = "auto",
        threads: ThreadsOption = None,
    ) -> None:
        if context.invoked_subcommand is not None:
            return
        if out is None:
            raise typer.BadParameter("give --out RUN, the folder for the masks")
        if short_side is not None and program.short_side is None:
            raise typer.BadParameter(f"--short-side: {program.name} chooses the size of frames by itself")
        config, chosen = chosen_network(program.configs, program.demos, config, checkpoint, weights)
        request = ModelRequest(
            config=config,
            weights=chosen,
            tokenizer=tokenizer,
            device=checked_device(device),
            soft_masks=soft_masks,
            short_side=short_side or program.usual_short_side(config),
        )
        limit_threads(threads)
        with expected_errors(program.name, program.error):
            source = open_source(dataset, split, video, expression, expressions)
            if video is not None and not source.videos[source.name].expressions:
                raise typer.BadParameter("give at least one --expression TEXT, or --expressions FILE, with --video")
            typer.echo(f"{program.name}: weights: {request.weights}", err=True)
            run = _create_run(program, request, source, out)
            code = run_videos(
                run, source, lambda: _with_expressions(program.load(request).predict), videos, program.error
            )
        raise typer.Exit(code)

    @checkpoint_app.command("convert")
    def convert(
        source: Annotated[Path, typer.Argument(help="Published checkpoint file.")],
        target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
        config: Annotated[str | None, config_option] = None,
    ) -> None:
        """Write a published checkpoint as safetensors with this program's names."""
        with expected_errors(program.name, program.error):
            program.convert(source, target, known_config(program.configs, config or usual_config))

    return app


def _create_run(program: RVOSProgram, request: ModelRequest, source: "Dataset", out: Path) -> "MaskRun":
    from mask_interchange.run import MaskRun, RunManifest

    settings = {"config": request.config, "tokenizer": request.tokenizer, "soft_masks": request.soft_masks}
    if request.short_side is not None:
        settings["short_side"] = request.short_side
    manifest = RunManifest(
        producer=program.name,
        producer_version=program.version,
        checkpoint_sha256=request.weights.sha256(),
        settings=settings | request.weights.settings,
        dataset=source.identity,
    )
    return MaskRun.create(out, manifest)


def _with_expressions(predict: Process) -> Process:
    def process(video: "Video", report: Report) -> "VideoMasks":
        if not video.expressions:
            raise DatasetError(f"video {video.id!r}: has no expressions; add one to the data set")
        return predict(video, report)

    return process


# --- parts for any program ------------------------------------------------------------------------------------------


def plain_app(**settings: object) -> typer.Typer:
    """A typer application with plain help and errors: quick to draw, easy to read in a log."""
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        **settings,  # pyright: ignore[reportArgumentType] - keyword arguments of typer.Typer
    )


def open_source(
    dataset: Path | None,
    split: str | None,
    video: Path | None,
    expressions: Sequence[str] | None = None,
    expressions_file: Path | None = None,
) -> "Dataset":
    """The input of the options `--dataset`, `--split`, `--video`, `--expression` and `--expressions`.

    Raises:
        typer.BadParameter: not exactly one of data set and video, or an option that does not go with the one chosen.
        DatasetError: the input cannot be opened.
    """
    from mask_interchange.dataset import open_dataset, open_video, read_expressions

    if (dataset is None) == (video is None):
        raise typer.BadParameter("give either --dataset ROOT or --video PATH")
    if video is None:
        if expressions or expressions_file:
            raise typer.BadParameter("--expression and --expressions go with --video; a data set brings its own")
        assert dataset is not None
        return open_dataset(dataset, split)
    if split is not None:
        raise typer.BadParameter("--split goes with --dataset")
    return open_video(video, [*(expressions or ()), *(read_expressions(expressions_file) if expressions_file else ())])


def checked_device(device: str) -> str:
    """`device` if it is `auto`, `cpu`, `cuda` or `cuda:<i>`; whether it is there, the program finds out."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", device):
        raise typer.BadParameter(f"--device {device}: expected auto, cpu, cuda or cuda:<number>")
    return device


def limit_threads(threads: int | None) -> None:
    """Limit the CPU threads of libraries that are imported later (torch, numpy, OpenMP code)."""
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = str(threads)


@contextmanager
def expected_errors(name: str, *errors: type[Exception]) -> Iterator[None]:
    """End the program `name` with one line and exit code 2 on errors that are the user's to mend; 130 on Ctrl-C."""
    try:
        yield
    except (MaskInterchangeError, OSError, *errors) as error:
        typer.echo(f"{name}: error: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as interrupt:
        typer.echo(f"{name}: interrupted; finished videos are kept, the same command continues", err=True)
        raise typer.Exit(130) from interrupt


def run_videos(
    run: Sink[R],
    dataset: "Dataset",
    load: Callable[[], Callable[["Video", Report], R]],
    videos: str | None = None,
    error: type[Exception] = MaskInterchangeError,
) -> int:
    """Process every video that the run does not have yet, and write each as soon as it is done.

    A video that fails is reported and the others are done. A full disk ends the work.

    Args:
        run: where to write.
        dataset: where the videos are.
        load: makes the function that processes one video; called once, when there is a first video to process.
        videos: the option `--videos`: None for all, ids separated by commas, or `-` to read ids from standard input
            and report on standard output (docs/mask_format.md, worker protocol).
        error: base of the errors that the program raises on purpose; any other is reported with its traceback.

    Returns:
        The exit code: 0 if all is done, 1 if not.

    Raises:
        DatasetError: `videos` names a video that is not there.
        RunBusyError: another process writes the run.
        Exception: whatever `load` raises.
    """
    if videos == "-":
        with run.writing(shared=True), _worker_streams() as (ids, events):
            return _Loop(run, dataset, load, error, _Events(events)).go(ids)
    chosen = list(dataset.videos) if videos is None else _chosen(dataset, videos.split(","))
    with run.writing():
        missing = run.missing(chosen)
        with _progress(len(missing), len(chosen) - len(missing)) as progress:
            return _Loop(run, dataset, load, error, progress).go(missing)


def _chosen(dataset: "Dataset", ids: Sequence[str]) -> list[str]:
    unknown = [video for video in ids if video not in dataset.videos]
    if unknown:
        known = ", ".join(list(dataset.videos)[:20])
        raise DatasetError(f"--videos: {dataset.name} has no video {', '.join(map(repr, unknown))}; it has {known}")
    return list(dict.fromkeys(ids))


class _Progress(Protocol):
    """Where the loop tells what happens. `failed` gets the whole message."""

    def started(self, video: str) -> None: ...
    def advanced(self, video: str, done: int, total: int) -> None: ...
    def done(self, video: str) -> None: ...
    def failed(self, video: str, error: str) -> None: ...


class _Loop(Generic[R]):
    """Processes one video after another."""

    def __init__(
        self,
        run: Sink[R],
        dataset: "Dataset",
        load: Callable[[], Callable[["Video", Report], R]],
        error: type[Exception],
        progress: _Progress,
    ):
        self._run = run
        self._dataset = dataset
        self._load = load
        self._expected = (MaskInterchangeError, error)
        self._process: Callable[[Video, Report], R] | None = None
        self._progress = progress

    def go(self, videos: Iterable[str]) -> int:
        failures: dict[str, str] = {}
        for video in videos:
            self._progress.started(video)
            if video in self._dataset.videos and self._run.has(video):
                self._progress.done(video)
                continue
            self._process = self._process or self._load()
            try:
                masks = self._masks(video, self._process)
            except Exception as error:  # one broken video must not stop the rest
                failures[video] = self._explained(error)
                self._progress.failed(video, failures[video])
                continue
            try:
                self._run.write(masks)
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                failures[video] = f"the disk is full: {self._run.path}; make room, the same command continues"
                self._progress.failed(video, failures[video])
                break
            self._progress.done(video)
        for video, error in failures.items():
            typer.echo(f"failed: {video}: {error}", err=True)
        return 1 if failures else 0

    def _masks(self, video: str, process: Callable[["Video", Report], R]) -> R:
        if video not in self._dataset.videos:
            raise DatasetError(f"{self._dataset.name} has no video {video!r}")
        source = self._dataset.videos[video]
        if faults := source.check():
            more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
            raise DatasetError(faults[0] + more)
        masks = process(source, lambda done, total: self._progress.advanced(video, done, total))
        if (masks.video, masks.frame_names) != (source.id, source.frame_names):
            raise RunError(f"the program answered video {source.id!r} with masks of other frames; this is its mistake")
        return masks

    def _explained(self, error: Exception) -> str:
        """An error's message; with the traceback when nobody expected it."""
        if isinstance(error, self._expected):
            return str(error)
        return "".join(traceback.format_exception(error)).rstrip()


@contextmanager
def _worker_streams() -> Iterator[tuple[Iterator[str], TextIO]]:
    """Video ids from standard input, and standard output for events; what libraries print goes to standard error."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    events = sys.stdout
    ids = (line.rstrip("\r\n") for line in iter(sys.stdin.readline, ""))
    with redirect_stdout(sys.stderr):
        yield (video for video in ids if video), events


class _Events:
    """The worker protocol: one JSON line per event."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def started(self, video: str) -> None:
        self._tell("started", video)

    def advanced(self, video: str, done: int, total: int) -> None:
        self._tell("progress", video, done=done, total=total)

    def done(self, video: str) -> None:
        self._tell("done", video)

    def failed(self, video: str, error: str) -> None:
        self._tell("failed", video, error=error)

    def _tell(self, event: str, video: str, **more: object) -> None:
        self._stream.write(json.dumps({"event": event, "video": video, **more}) + "\n")
        self._stream.flush()


_LINE_EVERY = 30.0  # seconds between two lines about one video; a line per frame would drown the rest


class _Lines:
    """Plain lines, for log files."""

    def __init__(self, total: int):
        self._total = total
        self._number = 0
        self._since = self._last_line = 0.0

    def started(self, video: str) -> None:
        self._number += 1
        self._since = self._last_line = time.monotonic()

    def advanced(self, video: str, done: int, total: int) -> None:
        if time.monotonic() - self._last_line > _LINE_EVERY:
            self._last_line = time.monotonic()
            self._say(f"{video}: {done} of {total}")

    def done(self, video: str) -> None:
        self._say(f"{video}: done in {time.monotonic() - self._since:.1f} s")

    def failed(self, video: str, error: str) -> None:
        self._say(f"{video}: failed")

    def _say(self, text: str) -> None:
        typer.echo(f"[{self._number}/{self._total}] {text}", err=True)


@contextmanager
def _progress(total: int, finished: int) -> Iterator[_Progress]:
    """A bar on a terminal, plain lines elsewhere; `finished` videos were there before."""
    if finished:
        typer.echo(f"{finished} videos are finished already, {total} to do", err=True)
    if not sys.stderr.isatty():
        yield _Lines(total)
        return
    from mask_interchange.bars import progress_bars

    with progress_bars(total) as bars:
        yield bars
