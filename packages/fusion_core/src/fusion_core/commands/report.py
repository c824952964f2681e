"""`fusion-core report`: one page that shows every run of a recipe."""

from pathlib import Path
from typing import Annotated

import typer
from program_kit.messages import log
from program_kit.options import DamagedOption, DatasetOption, SplitOption, VideoOption, open_source

from fusion_core.terminal.progress import progress_bar


def report(
    runs: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    dataset: DatasetOption = None,
    split: SplitOption = None,
    video: VideoOption = None,
    damaged: DamagedOption = "stop",
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Recipe whose runs are shown: a name, or a TOML file.")
    ] = "iccv2023",
    annotations: Annotated[Path | None, typer.Option(help="Ground truth for scores, as in `evaluate`.")] = None,
    videos: Annotated[
        str | None, typer.Option(metavar="ID,ID", help="Only these videos; by default all that any run has.")
    ] = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    max_size: Annotated[
        int, typer.Option(min=1, metavar="MB", help="Size limit of the file; pictures get smaller until they fit.")
    ] = 36,
) -> None:
    """Write one HTML page with the recipe, scores, and the masks of every run, worst disagreement first.

    The file needs no network and no other file. Exit code 1: something could not be shown; the page says what.
    """
    from rvos_evaluation.annotations import open_annotations

    from fusion_core.recipe.named import find_recipe
    from fusion_core.report.page import write_report

    source = open_source(dataset, split, video, damaged=damaged)
    if video is not None and annotations is not None:
        raise typer.BadParameter("--annotations goes with --dataset, which says which object an expression means")
    with progress_bar("videos") as progress:
        written = write_report(
            find_recipe(recipe),
            runs,
            source,
            out,
            annotations=open_annotations(annotations, source) if annotations else None,
            videos=videos.split(",") if videos else None,
            limit=max_size * 1_000_000,
            progress=progress,
        )
    typer.echo(
        f"{out}: {written.expressions} expressions, {written.size / 1e6:.1f} MB,"
        f" pictures of at most {written.side} pixels"
    )
    for problem in written.problems:
        log.error(f"not shown: {problem}")
    if written.problems:
        raise typer.Exit(1)
