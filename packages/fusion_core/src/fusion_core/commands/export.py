"""`fusion-core export`: a run in forms for people and other tools."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from program_kit.messages import about, log
from program_kit.options import DamagedOption, DatasetOption, SplitOption, VideoOption, open_source

from fusion_core.terminal.progress import progress_bar

if TYPE_CHECKING:
    from mask_interchange import MaskRun

    from fusion_core.rendering.clip import Look
    from fusion_core.rendering.forms import Listener

FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME,NAME",
        help="Forms to write: png, palette, coco, youtube-vis; from frames: overlay, rgba, prores, exr, rerun, images, "
        "yolo, pascal (docs/formats.md).",
    ),
]
FpsOption = Annotated[
    float, typer.Option("--fps", min=0.01, help="Frames a second of images; video files have their own.")
]
FontOption = Annotated[Path | None, typer.Option("--font", help="Font file for the expressions in overlays.")]
AudioOption = Annotated[bool, typer.Option("--audio", help="Overlays with the sound of the video file.")]
SoftOption = Annotated[
    bool, typer.Option("--soft", help="Alpha from stored probabilities, of a run made with --soft-masks.")
]
FeatherOption = Annotated[
    float, typer.Option("--feather", metavar="PIXELS", min=0, max=1000, help="Blur alpha by so much.")
]


def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path, typer.Option(help="Folder to fill; new or empty.")],
    formats: FormatOption = "png",
    dataset: DatasetOption = None,
    split: SplitOption = None,
    video: VideoOption = None,
    damaged: DamagedOption = "stop",
    videos: Annotated[str | None, typer.Option(metavar="ID,ID", help="Only these videos of the run.")] = None,
    fps: FpsOption = 6,
    font: FontOption = None,
    audio: AudioOption = False,
    soft: SoftOption = False,
    feather: FeatherOption = 0,
) -> None:
    """Write the masks of a run in forms for people and other tools.

    Forms from frames need the data set or the video that the run was made from; beside the runs of `segment` and `run`
    it is noted. Exit code 1: some videos failed; the rest are written.
    """
    from mask_interchange import MaskRun
    from mask_interchange.files import new_folder

    from fusion_core.rendering.forms import export_run, named_forms, needing_frames
    from fusion_core.running.context import recorded_source

    forms = named_forms(formats)
    look = chosen_look(fps, font, audio, soft, feather)
    source = None
    if needed := needing_frames(forms):
        is_named = dataset is not None or video is not None
        is_described = split is not None or damaged != "stop"  # which says nothing of what is noted
        recorded = None if is_named or is_described else recorded_source(run.absolute().parent)
        if recorded is None and not is_named:
            raise typer.BadParameter(f"{', '.join(needed)} needs the frames: give --dataset ROOT or --video PATH")
        source = recorded.open() if recorded else open_source(dataset, split, video, damaged=damaged)
    opened = MaskRun.open(run)
    chosen = _chosen(opened, videos)
    with new_folder(out) as unfinished:
        done = export_run(opened, source, chosen, unfinished, forms, look, listener())
    typer.echo(f"{out}: {len(done)} videos, {len(chosen) - len(done)} failed")
    if len(done) < len(chosen):
        raise typer.Exit(1)


def chosen_look(fps: float, font: Path | None, audio: bool, soft: bool, feather: float) -> "Look":
    """What the options of pictures and videos say.

    Raises:
        FontError: the font cannot be read.
    """
    from fusion_core.rendering.clip import Look
    from fusion_core.rendering.legend import check_font

    check_font(font)
    return Look(rate=Fraction(fps).limit_denominator(1001), font=font, audio=audio, soft=soft, feather=feather)


def listener() -> "Listener":
    """Shows what happens during an export on standard error."""
    from fusion_core.rendering.forms import Listener

    return Listener(progress=progress_bar, note=print_note, failed=_print_failure)


def print_note(text: str) -> None:
    """Say on standard error what is worth to know and no failure."""
    log.warning(f"note: {text}")


def _print_failure(video: str, error: Exception) -> None:
    log.error(f"failed: video {video}: {error}", extra=about(video=video))


def _chosen(run: "MaskRun", videos: str | None) -> list[str]:
    there = run.videos()
    chosen = videos.split(",") if videos else there
    unknown = [name for name in chosen if name not in there]
    if unknown:
        raise typer.BadParameter(f"--videos: {run.path} has no masks of {unknown[0]!r}")
    return chosen
