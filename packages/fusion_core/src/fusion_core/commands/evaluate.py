"""`fusion-core evaluate`: J, F and J&F of a run."""

from pathlib import Path
from typing import Annotated

import typer

from fusion_core.terminal.progress import counted


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder; PNG masks become one by `fusion-core import`.")],
    annotations: Annotated[
        Path, typer.Option(help="Folder of <video>/<frame>.png label images or <video>/<expression>/<frame>.png masks.")
    ],
    protocol: Annotated[str, typer.Option(help="rvos, davis, davis-unsupervised or ref-davis.")] = "rvos",
    dataset: Annotated[
        Path | None, typer.Option(help="Data set whose videos and expressions are asked for; missing ones score 0.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for scores.json and the CSV files.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, down to single frames, instead of the table.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a row per expression, instead of the table.")] = False,
) -> None:
    """Score a run against true masks: J, F and J&F per frame, expression and video, and their means."""
    from mask_interchange import MaskRun, open_dataset
    from rich.console import Console
    from rvos_evaluation import scoreboard
    from rvos_evaluation.annotations import open_annotations
    from rvos_evaluation.errors import EvaluationError
    from rvos_evaluation.evaluation import evaluate_run
    from rvos_evaluation.protocols import Protocol

    if json and csv:
        raise typer.BadParameter("--json and --csv both print to the terminal; choose one, or --out for files")
    if protocol not in list(Protocol):
        raise typer.BadParameter(f"--protocol is one of {', '.join(Protocol)}, not {protocol!r}")
    if run.is_dir() and not (run / "run.json").exists() and any(run.rglob("*.png")):
        raise EvaluationError(
            f"{run} is a folder of PNG masks, not a run; make one of it with "
            f"`fusion-core import --annotations {run} --out RUN`"
        )
    with counted("videos") as report:
        evaluation = evaluate_run(
            MaskRun.open(run),
            open_annotations(annotations),
            Protocol(protocol),
            open_dataset(dataset, split) if dataset else None,
            report,
        )
    if json:
        typer.echo(scoreboard.as_json(evaluation), nl=False)
    elif csv:
        typer.echo(scoreboard.targets_as_csv(evaluation), nl=False)
    else:
        Console().print(scoreboard.as_table(evaluation))
    if out:
        written = scoreboard.write_files(evaluation, out)
        typer.echo(f"wrote {', '.join(str(path) for path in written)}", err=json or csv)
