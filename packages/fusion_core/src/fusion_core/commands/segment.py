"""`fusion-core segment`: a whole recipe on one's own video."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from program_kit.options import DamagedOption, DeviceOption, ExpressionOption, ExpressionsOption

from fusion_core.commands.recipe import (
    CheckpointOption,
    CheckpointsOption,
    WeightsOption,
    open_context,
    print_failures,
)
from fusion_core.commands.render import print_note
from fusion_core.recipe.nodes import Pairing, Vote
from fusion_core.terminal.progress import progress_bar

if TYPE_CHECKING:
    from fusion_core.recipe.graph import Recipe
    from fusion_core.running.context import RunContext
    from fusion_core.running.runner import Summary

RUNS = "runs"
OUTPUTS = ("overlay", "masks", "rgba", "masks.json")


def segment(
    video: Annotated[Path, typer.Argument(help="Video file, or folder of frames.")],
    out: Annotated[Path, typer.Option(help="Folder to fill; new, empty, or of an earlier call that it continues.")],
    expression: ExpressionOption = None,
    expressions: ExpressionsOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="modern, iccv2023, demo, or a file (docs/recipe.md); by default the best whose weights are here.",
        ),
    ] = None,
    checkpoint: CheckpointOption = None,
    checkpoints: CheckpointsOption = None,
    weights: WeightsOption = None,
    pairing: Annotated[
        Pairing, typer.Option(help="Which expressions mean the same object and pool their votes.")
    ] = Pairing.NONE,
    device: DeviceOption = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of workers; by default one on each GPU, or one on the CPU.")
    ] = None,
    damaged: DamagedOption = "stop",
    fps: Annotated[float, typer.Option(min=0.01, help="Frames a second, if the video is a folder of images.")] = 6,
    font: Annotated[Path | None, typer.Option(help="Font file for the expressions in the overlay.")] = None,
) -> None:
    """Segment what expressions mean in a video: overlay MP4, PNG masks, transparent PNGs, COCO JSON.

    The runs of the recipe stay in OUT/runs; the same command continues after an interruption.
    """
    from mask_interchange import read_expressions

    from fusion_core.recipe.named import best_recipe, find_recipe
    from fusion_core.rendering.legend import check_font
    from fusion_core.running.context import VideoSource

    texts = [*(expression or ()), *(read_expressions(expressions) if expressions else ())]
    if not texts:
        raise typer.BadParameter("give at least one --expression TEXT, or --expressions FILE")
    _check_out(out)
    check_font(font)
    source = VideoSource(path=video, expressions=texts, damaged=damaged)
    paired = _paired(best_recipe() if recipe is None else find_recipe(recipe), pairing)
    context = open_context(paired, source, out / RUNS, checkpoint, checkpoints, weights, device)
    for name in context.dataset.videos:
        for note in context.dataset.videos[name].notes():
            print_note(note)
    summary = _run(context, workers)
    print_failures(summary)
    if not summary.complete:
        typer.echo(f"{out}: not complete; the same command tries again what is missing", err=True)
        raise typer.Exit(1)
    _render(summary, out, Fraction(fps).limit_denominator(1001), font)
    _print_found(summary)


def _check_out(out: Path) -> None:
    from fusion_core.rendering.outputs import RenderError

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / RUNS).is_dir())):
        raise RenderError(f"{out}: expected a new or empty folder, or one of an earlier call; give another with --out")


def _paired(recipe: "Recipe", pairing: Pairing) -> "Recipe":
    """The recipe with another pairing. Benchmarks name most objects twice in a row, users name them once."""
    nodes = (replace(node, pairing=pairing) if isinstance(node, Vote) else node for node in recipe.nodes)
    return replace(recipe, nodes=tuple(nodes))


def _run(context: "RunContext", workers: int | None) -> "Summary":
    from fusion_core.running.executors.local import LocalExecutor
    from fusion_core.running.plan import make_plan
    from fusion_core.running.runner import run_plan
    from fusion_core.terminal.live_table import watching

    plan = make_plan(context)
    with watching(plan) as listener:
        return run_plan(plan, LocalExecutor(workers, context.device, context.memory), listener)


def _render(summary: "Summary", out: Path, rate: Fraction, font: Path | None) -> None:
    """Write the result in all forms; they replace those of an earlier call."""
    import shutil

    from mask_interchange import MaskRun
    from mask_interchange.files import temporary_folder

    from fusion_core.rendering.outputs import Wanted, render_video, write_coco, write_masks

    result = MaskRun.open(summary.result)
    wanted = Wanted(overlay=True, rgba=True, rate=rate, font=font)
    with temporary_folder(out) as unfinished:
        for video in summary.context.dataset.videos.values():
            with progress_bar("frames") as progress:
                render_video(result, video, unfinished, wanted, progress, print_note)
        write_masks(result, unfinished, summary.context.dataset.videos)
        write_coco(result, unfinished, summary.context.dataset.videos)
        for name in OUTPUTS:
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            (unfinished / name).replace(out / name)
            typer.echo(out / name)


def _print_found(summary: "Summary") -> None:
    """On how many frames each expression has a mask."""
    from mask_interchange import MaskRun

    for video in summary.context.dataset.videos:
        masks = MaskRun.open(summary.result).read(video)
        for track in masks.tracks:
            found = int((track.runs.areas() > 0).sum())
            typer.echo(f"{track.expression.text}: on {found} of {len(masks.frame_names)} frames")
