"""`fusion-core render`: a run as overlay videos, PNG masks, cut-outs and COCO JSON."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from program_kit.options import DamagedOption, DatasetOption, SplitOption, VideoOption, open_source

from fusion_core.terminal.progress import progress_bar

if TYPE_CHECKING:
    from mask_interchange import MaskRun, Video

    from fusion_core.rendering.outputs import Wanted


def render(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path, typer.Option(help="Folder to fill; new or empty.")],
    dataset: DatasetOption = None,
    split: SplitOption = None,
    video: VideoOption = None,
    damaged: DamagedOption = "stop",
    overlay: Annotated[
        bool, typer.Option("--overlay", help="MP4 of each video with masks and expressions; the default.")
    ] = False,
    masks: Annotated[bool, typer.Option("--masks", help="Grey PNG masks and key frames.")] = False,
    rgba: Annotated[bool, typer.Option("--rgba", help="PNG of every frame, transparent outside the mask.")] = False,
    coco: Annotated[bool, typer.Option("--coco", help="JSON with COCO run lengths.")] = False,
    videos: Annotated[str | None, typer.Option(metavar="ID,ID", help="Only these videos of the run.")] = None,
    fps: Annotated[
        float, typer.Option(min=0.01, help="Frames a second in overlays of images; video files have their own.")
    ] = 6,
    font: Annotated[Path | None, typer.Option(help="Font file for the expressions.")] = None,
) -> None:
    """Write the masks of a run in forms for people and other tools.

    Give the data set or the video that the run was made from. Exit code 1: some videos failed; the rest are written.
    """
    from mask_interchange import MaskRun
    from mask_interchange.files import new_folder

    from fusion_core.rendering.legend import check_font
    from fusion_core.rendering.outputs import Wanted, write_coco, write_masks

    check_font(font)
    source = open_source(dataset, split, video, damaged=damaged)
    opened = MaskRun.open(run)
    chosen = _chosen(opened, videos)
    if not (overlay or masks or rgba or coco):
        overlay = True
    wanted = Wanted(overlay=overlay, rgba=rgba, rate=Fraction(fps).limit_denominator(1001), font=font)
    failed = 0
    with new_folder(out) as unfinished:
        for name in chosen if overlay or rgba else ():
            failed += not _render_one(opened, source.videos.get(name), name, unfinished, wanted)
        if masks:
            write_masks(opened, unfinished, chosen)
        if coco:
            write_coco(opened, unfinished, chosen)
    typer.echo(f"{out}: {len(chosen) - failed} videos, {failed} failed")
    if failed:
        raise typer.Exit(1)


def _chosen(run: "MaskRun", videos: str | None) -> list[str]:
    there = run.videos()
    chosen = videos.split(",") if videos else there
    unknown = [name for name in chosen if name not in there]
    if unknown:
        raise typer.BadParameter(f"--videos: {run.path} has no masks of {unknown[0]!r}")
    return chosen


def print_note(text: str) -> None:
    """Say on standard error what is worth to know and no failure."""
    typer.echo(f"note: {text}", err=True)


def _render_one(run: "MaskRun", video: "Video | None", name: str, out: Path, wanted: "Wanted") -> bool:
    from mask_interchange import MaskInterchangeError

    from fusion_core.errors import FusionCoreError, MemberError
    from fusion_core.rendering.outputs import render_video

    with progress_bar(name) as progress:
        try:
            if video is None:
                raise MemberError("the data set or video that was given does not have its frames")
            render_video(run, video, out, wanted, progress, print_note)
        except (FusionCoreError, MaskInterchangeError) as error:
            typer.echo(f"failed: video {name}: {error}", err=True)
            return False
    return True
