"""`fusion-core evaluate`: J, F and J&F of a run."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fusion_core.terminal.progress import progress_bar
from fusion_core.terminal.tables import print_table

Folders = Literal["expressions", "objects"]  # see `rvos_evaluation.targets`
Frames = Literal["annotated", "all"]


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder; `fusion-core import` makes one from PNG masks.")],
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="Ground truth: a folder of <video>/<frame>.png label images or <video>/<name>/<frame>.png masks, or a "
            "JSON file of run lengths. By default the masks that the data set brings."
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="rvos, mevis, long-rvos, a2d, refcoco, davis, davis-unsupervised, ref-davis or ref-davis-mean."
        ),
    ] = "rvos",
    dataset: Annotated[
        Path | None,
        typer.Option(help="Data set with the videos and expressions that are required; missing ones score 0."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set.")] = None,
    folders: Annotated[
        Folders | None, typer.Option(help="What a folder of masks stands for, where its name does not tell.")
    ] = None,
    frames: Annotated[
        Frames | None,
        typer.Option(
            help="Which frames count: those with ground truth, or all, where a frame without a file shows nothing. "
            "By default as the data set means it."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for scores.json and the CSV files.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON with the scores of every frame, instead of the table.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, one row for each expression, instead of the table.")
    ] = False,
) -> None:
    """Score a run against ground truth: J, F and J&F of frames, expressions and videos, and their means."""
    from mask_interchange import MaskRun, open_dataset
    from rvos_evaluation import scoreboard, targets
    from rvos_evaluation.annotations import open_annotations, open_truth
    from rvos_evaluation.errors import EvaluationError
    from rvos_evaluation.evaluation import evaluate_run
    from rvos_evaluation.protocols import Protocol

    if json and csv:
        raise typer.BadParameter("--json and --csv both print to the terminal; choose one, or --out for files")
    if annotations is None and dataset is None:
        raise typer.BadParameter("give --annotations, or --dataset for a data set that brings its masks")
    if protocol not in list(Protocol):
        raise typer.BadParameter(f"--protocol is one of {', '.join(Protocol)}, not {protocol!r}")
    if run.is_dir() and not (run / "run.json").exists() and any(run.rglob("*.png")):
        raise EvaluationError(
            f"{run} is a folder of PNG masks, not a run; make a run from it with "
            f"`fusion-core import --annotations {run} --out RUN`"
        )
    opened = open_dataset(dataset, split) if dataset else None
    if annotations is None:
        assert opened is not None
        truth = open_truth(opened)
    else:
        truth = open_annotations(annotations, opened)
    with progress_bar("videos") as progress:
        evaluation = evaluate_run(
            MaskRun.open(run),
            truth,
            Protocol(protocol),
            opened,
            progress,
            folders=folders and targets.Folders(folders),
            frames=frames and targets.Frames(frames),
        )
    if json:
        typer.echo(scoreboard.as_json(evaluation), nl=False)
    elif csv:
        typer.echo(scoreboard.targets_as_csv(evaluation), nl=False)
    else:
        print_table(scoreboard.as_table(evaluation))
    if out:
        written = scoreboard.write_files(evaluation, out)
        typer.echo(f"wrote {', '.join(str(path) for path in written)}", err=json or csv)
