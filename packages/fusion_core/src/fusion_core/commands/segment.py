"""`fusion-core segment`: a whole recipe on one's own video."""

from dataclasses import replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from program_kit.messages import log
from program_kit.options import DamagedOption, DeviceOption, ExpressionOption, ExpressionsOption

from fusion_core.commands.export import (
    AudioOption,
    FeatherOption,
    FontOption,
    FormatOption,
    FpsOption,
    SoftOption,
    chosen_look,
    listener,
    print_note,
)
from fusion_core.commands.recipe import (
    CheckpointOption,
    CheckpointsOption,
    PrecisionOption,
    WeightsOption,
    open_context,
    print_failures,
)
from fusion_core.recipe.nodes import Pairing, Vote

if TYPE_CHECKING:
    from fusion_core.recipe.graph import Recipe
    from fusion_core.rendering.clip import Look
    from fusion_core.running.context import RunContext, VideoSource
    from fusion_core.running.runner import Summary

RUNS = "runs"


def segment(
    video: Annotated[Path, typer.Argument(help="Video file, or folder of frames.")],
    out: Annotated[Path, typer.Option(help="Folder to fill; new, empty, or of an earlier call on this video.")],
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
    precision: PrecisionOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of workers; by default one on each GPU, or one on the CPU.")
    ] = None,
    damaged: DamagedOption = "stop",
    formats: FormatOption = "overlay,png,rgba,coco",
    fps: FpsOption = 6,
    font: FontOption = None,
    audio: AudioOption = False,
    soft: SoftOption = False,
    feather: FeatherOption = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Segment what expressions mean in a video, and write the result in forms for people and other tools.

    The runs of the recipe stay in OUT/runs; the same command continues after an interruption. With other expressions
    the result is replaced.
    """
    from mask_interchange import read_expressions

    from fusion_core.recipe.named import best_recipe, find_recipe
    from fusion_core.recipe.published import DEMO
    from fusion_core.rendering.forms import named_forms
    from fusion_core.running.context import VideoSource

    texts = [*(expression or ()), *(read_expressions(expressions) if expressions else ())]
    if not texts:
        raise typer.BadParameter("give at least one --expression TEXT, or --expressions FILE")
    source = VideoSource(path=video, expressions=texts, damaged=damaged)
    _check_out(out, source)
    forms, look = named_forms(formats), chosen_look(fps, font, audio, soft, feather)
    if not video.exists():
        source.open()  # its error comes before one about weights
    paired = _paired(best_recipe() if recipe is None else find_recipe(recipe), pairing)
    context = open_context(paired, source, out / RUNS, checkpoint, checkpoints, weights, device, precision)
    if recipe == DEMO.name:
        print_note(
            f"recipe {DEMO.name}: its weights know drawn shapes only; what they find in other videos means nothing"
        )
    for name in context.dataset.videos:
        for note in context.dataset.videos[name].notes():
            print_note(note)
    context = _in_windows(context)
    summary = _run(context, workers)
    print_failures(summary)
    if not summary.complete:
        log.error(f"{out}: not complete; the same command tries again what is missing")
        raise typer.Exit(1)
    written, found = _export(summary, out, forms, look), _found(summary)
    if json:
        typer.echo(dumps({"written": [str(path) for path in written], "found": found}, indent=1, ensure_ascii=False))
        return
    for path in written:
        typer.echo(path)
    for one in found:
        typer.echo(f"{one['expression']}: on {one['found']} of {one['frames']} frames")


def _check_out(out: Path, source: "VideoSource") -> None:
    from fusion_core.rendering.forms import RenderError
    from fusion_core.running.context import recorded_source

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / RUNS).is_dir())):
        raise RenderError(f"{out}: expected a new or empty folder, or one of an earlier call; give another with --out")
    before = recorded_source(out / RUNS)
    if before is not None and before.described().get("video") != source.described()["video"]:
        there = " ".join(before.arguments(expressions=False))
        raise RenderError(f"{out}: holds the result of {there}; give another folder with --out")


def _paired(recipe: "Recipe", pairing: Pairing) -> "Recipe":
    """The recipe with another pairing. Benchmarks name most objects twice in a row, users name them once."""
    nodes = (replace(node, pairing=pairing) if isinstance(node, Vote) else node for node in recipe.nodes)
    return replace(recipe, nodes=tuple(nodes))


def _in_windows(context: "RunContext") -> "RunContext":
    """The context with windows where the video is too long for the memory of this machine; says so."""
    from fusion_core.recipe.windows import with_windows
    from fusion_core.running.executors.local import memory_of

    frames = max(map(len, context.dataset.videos.values()))
    recipe, said = with_windows(context.recipe, frames, memory_of(context.device))
    for text in said:
        print_note(text)
    return replace(context, recipe=recipe)


def _run(context: "RunContext", workers: int | None) -> "Summary":
    from fusion_core.running.executors.local import LocalExecutor
    from fusion_core.running.plan import make_plan
    from fusion_core.running.runner import run_plan
    from fusion_core.terminal.live_table import watching

    plan = make_plan(context)
    with watching(plan) as listener:
        return run_plan(plan, LocalExecutor(workers, context.device, context.memory), listener)


def _export(summary: "Summary", out: Path, forms: "tuple[str, ...]", look: "Look") -> list[Path]:
    """Write the result, which replaces that of an earlier call, in whatever forms; returns what was written."""
    import shutil

    from mask_interchange import MaskRun
    from mask_interchange.files import temporary_folder

    from fusion_core.rendering.forms import FORMS, export_run

    dataset = summary.context.dataset
    with temporary_folder(out) as folder:
        (unfinished := folder / "content").mkdir()
        done = export_run(
            MaskRun.open(summary.result), dataset, list(dataset.videos), unfinished, forms, look, listener()
        )
        if len(done) < len(dataset.videos):
            raise typer.Exit(1)
        for name in (place for form in FORMS.values() for place in form.places):
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            else:
                (out / name).unlink(missing_ok=True)
        return [made.replace(out / made.name) for made in sorted(unfinished.iterdir())]


def _found(summary: "Summary") -> list[dict[str, object]]:
    """On how many frames each expression has a mask."""
    from mask_interchange import MaskRun

    run = MaskRun.open(summary.result)
    return [
        {"expression": track.expression.text, "found": int((track.runs.areas() > 0).sum()), "frames": len(track)}
        for video in summary.context.dataset.videos
        for track in run.read(video).tracks
    ]
