"""Options that the programs share, and what they mean."""

import inspect
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_type_hints

import typer
from typer.models import OptionInfo

from program_kit.weights import BundledWeights

if TYPE_CHECKING:
    from mask_interchange.dataset import Dataset

DatasetOption = Annotated[
    Path | None, typer.Option("--dataset", metavar="ROOT", help="Data set as it was downloaded (docs/datasets.md).")
]
SplitOption = Annotated[str | None, typer.Option("--split", help="Split of the data set, where there are several.")]
VideoOption = Annotated[
    Path | None,
    typer.Option("--video", metavar="PATH", help="One video file or folder of frames instead of a data set."),
]
Damaged = Literal["stop", "skip"]  # see `mask_interchange.video_index`
DamagedOption = Annotated[
    Damaged,
    typer.Option("--damaged", help="A video file with damaged or missing frames: stop, or skip them and go on."),
]
ExpressionOption = Annotated[
    list[str] | None,
    typer.Option("--expression", "-e", metavar="TEXT", help="What to segment in a video of your own; repeatable."),
]
ExpressionsOption = Annotated[
    Path | None,
    typer.Option(
        "--expressions", metavar="FILE", help="UTF-8 file with one expression a line, for a video of your own."
    ),
]
VideosOption = Annotated[
    str | None,
    typer.Option("--videos", metavar="ID,ID|-", help="Only these videos; '-' reads ids from standard input (worker)."),
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="RUN", help="Run folder to write or to continue.")]
CheckpointOption = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="PATH", help="Weights: a file, or a folder if the program says so."),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="KIND",
        help="Instead of a checkpoint: a name of `fusion-core weights list`, hub:OWNER/NAME@COMMIT, bundled, or "
        "random:SEED (untrained, for trying things out).",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda[:i]", help="Where to compute.")]
Precision = Literal["strict", "tf32", "bfloat16", "float16"]  # see `program_kit.torch.precision`
PrecisionOption = Annotated[
    Precision,
    typer.Option("--precision", help="How exactly the network computes; all but strict are faster, on a GPU."),
]
memory_limit: float | None = None  # in GiB, of the device; see `program_kit.torch.memory`
MemoryOption = Annotated[
    float | None,
    typer.Option(
        "--memory",
        metavar="GIB",
        min=0.1,
        help="Memory that sizes of groups are chosen for; by default what the device has free.",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; a run goes on with those that it was begun with.")
]
SoftMasksOption = Annotated[
    int | None,
    typer.Option("--soft-masks", metavar="PIXELS", min=1, help="Also store probabilities, longer side this long."),
]


def config_option(configs: Sequence[str], bundled: Sequence[BundledWeights], *names: str, help: str) -> OptionInfo:  # noqa: A002
    """The option that chooses one of a program's configurations; its help says which one is taken without it.

    Args:
        configs: names of the configurations, the default first.
        bundled: the weights that the program ships; without a choice of weights their configuration is taken.
        names: of the option.
        help: one sentence.
    """
    ours = f"; {' or '.join(weights.config for weights in bundled)} for the weights that the program ships"
    usual = configs[0] + (ours if bundled else "")
    return typer.Option(*names, metavar="|".join(configs), help=help, show_default=usual)


def open_source(
    dataset: Path | None,
    split: str | None,
    video: Path | None,
    expressions: Sequence[str] | None = None,
    expressions_file: Path | None = None,
    damaged: Damaged = "stop",
) -> "Dataset":
    """The input of the options `--dataset`, `--split`, `--video`, `--expression`, `--expressions` and `--damaged`.

    Raises:
        typer.BadParameter: not exactly one of data set and video, or an option that does not go with the one chosen.
        DatasetError: the input cannot be opened.
    """
    from mask_interchange import open_dataset, open_video, read_expressions

    if (dataset is None) == (video is None):
        raise typer.BadParameter("give either --dataset ROOT or --video PATH")
    if video is None:
        if expressions or expressions_file:
            raise typer.BadParameter("--expression and --expressions go with --video; a data set brings its own")
        assert dataset is not None
        return open_dataset(dataset, split)
    if split is not None:
        raise typer.BadParameter("--split goes with --dataset")
    texts = [*(expressions or ()), *(read_expressions(expressions_file) if expressions_file else ())]
    return open_video(video, texts, damaged)


def checked_device(device: str) -> str:
    """`device` if it is `auto`, `cpu`, `cuda` or `cuda:<i>`; whether it is there, the program finds out."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", device):
        raise typer.BadParameter(f"--device {device}: expected auto, cpu, cuda or cuda:<number>")
    return device


def set_memory(limit: float | None) -> None:
    """Set the memory, in GiB, that sizes of groups are chosen for; None for what the device has free."""
    global memory_limit
    memory_limit = limit


def set_threads(threads: int | None, out: Sequence[Path]) -> int:
    """Set how many CPU threads libraries take that are imported later: torch and OpenMP code, but not numpy.

    The number changes the last bits of sums, so a run is continued with the number that it was begun with.

    Args:
        threads: the option; by default the number of a run in `out` that has masks, else OMP_NUM_THREADS, else one for
            each core that this process may use.
        out: the runs that are written.

    Returns:
        The number, for their manifests.

    Raises:
        RunError: a run cannot be read.
    """
    chosen = threads or next(filter(None, map(_recorded_threads, out)), None) or _usual_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(chosen)
    return chosen


def _recorded_threads(out: Path) -> int | None:
    from mask_interchange.run import MaskRun

    if not (out / "run.json").is_file():
        return None
    run = MaskRun.open(out)
    recorded = run.manifest.settings.get("threads")
    return recorded if run.videos() and isinstance(recorded, int) and recorded > 0 else None


def _usual_threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def with_options(command: Callable[..., None], options: type) -> Callable[..., None]:
    """`command`, whose keywords `**own` become the fields of the dataclass `options`, as typer sees it."""
    signature = inspect.signature(command)
    common = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    hints = get_type_hints(options, include_extras=True)
    own = [
        inspect.Parameter(
            option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=hints[option.name]
        )
        for option in fields(options)
    ]
    command.__signature__ = signature.replace(parameters=[*common, *own])  # pyright: ignore[reportFunctionMemberAccess]
    return command
