"""`fusion-core segment`: the whole recipe on one's own video."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from program_kit.options import ExpressionOption, ExpressionsOption

from fusion_core.commands.recipe import (
    CheckpointOption,
    CheckpointsOption,
    DeviceOption,
    WeightsOption,
    prepared,
    tell_failures,
)
from fusion_core.recipe.graph import Pairing, Vote
from fusion_core.terminal.progress import counted

if TYPE_CHECKING:
    from fusion_core.recipe.graph import Recipe
    from fusion_core.running.context import Place
    from fusion_core.running.runner import Summary

RUNS = "runs"
MADE = ("overlay", "masks", "rgba", "masks.json")


def segment(
    video: Annotated[Path, typer.Argument(help="Video file, or folder of frames.")],
    out: Annotated[Path, typer.Option(help="Folder to fill; new, empty, or of an earlier call that it continues.")],
    expression: ExpressionOption = None,
    expressions: ExpressionsOption = None,
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="demo, iccv2023, or a TOML file (docs/recipe.md).")
    ] = "demo",
    checkpoint: CheckpointOption = None,
    checkpoints: CheckpointsOption = None,
    weights: WeightsOption = None,
    pairing: Annotated[
        Pairing, typer.Option(help="Which sentences mean the same object and pool their votes.")
    ] = Pairing.NONE,
    device: DeviceOption = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers at a time; by default one on every GPU, or one on the CPU.")
    ] = None,
    fps: Annotated[float, typer.Option(min=0.01, help="Frames a second, if the video is a folder of images.")] = 6,
    font: Annotated[Path | None, typer.Option(help="Font file for the sentences in the overlay.")] = None,
) -> None:
    """Segment what sentences say in a video: overlay MP4, PNG masks, transparent PNGs, COCO JSON.

    Every run of the recipe stays in OUT/runs; the same command goes on where it was stopped.
    """
    from mask_interchange import read_expressions

    from fusion_core.recipe.toml import find_recipe
    from fusion_core.running.context import VideoSource

    sentences = [*(expression or ()), *(read_expressions(expressions) if expressions else ())]
    if not sentences:
        raise typer.BadParameter("give at least one --expression TEXT, or --expressions FILE")
    _check_out(out)
    source = VideoSource(path=video, expressions=sentences)
    paired = _paired(find_recipe(recipe), pairing)
    place = prepared(paired, source, out / RUNS, checkpoint, checkpoints, weights, device)
    summary = _carry_out(place, workers)
    tell_failures(summary)
    if not summary.complete:
        typer.echo(f"{out}: not complete; the same command tries again what is missing", err=True)
        raise typer.Exit(1)
    _render(summary, out, Fraction(fps).limit_denominator(1001), font)
    _tell_found(summary)


def _check_out(out: Path) -> None:
    from fusion_core.rendering.outputs import RenderError

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / RUNS).is_dir())):
        raise RenderError(f"{out}: expected a new or empty folder, or one of an earlier call; give another with --out")


def _paired(recipe: "Recipe", pairing: Pairing) -> "Recipe":
    """Benchmarks say most things twice, users once: recipes pair sentences by their order, which is no use here."""
    nodes = (replace(node, pairing=pairing) if isinstance(node, Vote) else node for node in recipe.nodes)
    return replace(recipe, nodes=tuple(nodes))


def _carry_out(place: "Place", workers: int | None) -> "Summary":
    from fusion_core.running.plan import make_plan
    from fusion_core.running.runner import default_executor, run_recipe
    from fusion_core.terminal.live_table import watching

    plan = make_plan(place)
    with watching(plan) as listener:
        return run_recipe(place, default_executor(place, workers), listener, plan)


def _render(summary: "Summary", out: Path, rate: Fraction, font: Path | None) -> None:
    """All forms of the result, in place of those of an earlier call."""
    import os
    import shutil

    from mask_interchange import MaskRun

    from fusion_core.rendering.outputs import Wanted, render_video, write_coco, write_masks

    result = MaskRun.open(summary.result)
    unfinished = out / f".rendering-{os.getpid()}"
    wanted = Wanted(overlay=True, rgba=True, rate=rate, font=font)
    try:
        for video in summary.place.dataset.videos.values():
            with counted("frames") as report:
                render_video(result, video, unfinished, wanted, report)
        write_masks(result, unfinished, summary.place.dataset.videos)
        write_coco(result, unfinished, summary.place.dataset.videos)
        for name in MADE:
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            (unfinished / name).replace(out / name)
            typer.echo(out / name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _tell_found(summary: "Summary") -> None:
    """On how many frames each sentence has a mask."""
    from mask_interchange import MaskRun

    for video in summary.place.dataset.videos:
        masks = MaskRun.open(summary.result).read(video)
        for track in masks.tracks:
            found = int((track.runs.areas() > 0).sum())
            typer.echo(f"{track.expression.text}: on {found} of {len(masks.frame_names)} frames")
