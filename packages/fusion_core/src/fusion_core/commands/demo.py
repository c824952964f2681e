"""`fusion-core demo`: the whole pipeline on drawn videos."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from fusion_core.demo import Place
    from fusion_core.evaluation import Evaluation


def demo(
    out: Annotated[Path, typer.Option(help="Folder to fill; an earlier demo there is replaced.")] = Path("work/demo"),
    seed: Annotated[int, typer.Option(help="Equal seeds draw equal videos and mistakes.", min=0)] = 0,
) -> None:
    """Draw videos and imperfect masks, then import, vote, score and submit them with the commands of this program.

    No model runs: the masks are true masks of drawn videos, spoiled on purpose, so that the rest can be tried without
    weights, data or GPU.
    """
    from rich.console import Console

    from fusion_core import demo as steps

    console = Console()
    place = steps.begin(out, seed)
    typer.echo(f"drew videos, sentences and true masks: {place.dataset}")

    typer.echo("\nFive members. Their masks are drawn, not predicted: true masks with mistakes of five kinds.")
    steps.draw_runs(place, steps.MODELS, seed)
    steps.turn_into_png(place, steps.MODELS)
    _import(place, steps.MODELS)
    _run("fuse", "--stage", "1", "--runs", str(place.runs))

    typer.echo("\nSeven propagated runs. Also drawn: true masks with fewer mistakes, where AOT and DeAOT would stand.")
    steps.draw_runs(place, steps.PROPAGATED, seed + 1)
    typer.echo(f"{place.runs}: drew {', '.join(steps.PROPAGATED)}")
    _run("fuse", "--stage", "2", "--runs", str(place.runs))

    typer.echo("\nScores")
    final = place.runs / steps.FINAL
    scores = steps.score(place, [*steps.MODELS, *steps.STAGE_1, *steps.PROPAGATED, *steps.STAGE_2])
    _run("evaluate", str(final), "--annotations", str(place.annotations), "--out", str(place.root / "scores"))
    console.print(_table(scores))
    best = max(scores[run].overall.jf for run in steps.MODELS)
    gain = 100 * (scores[steps.FINAL].overall.jf - best)
    typer.echo(f"the final vote is {abs(gain):.1f} points {'above' if gain > 0 else 'below'} the best single member")
    typer.echo("(these mistakes are independent of each other, which suits a vote; real models share some of theirs)")

    typer.echo("\nSubmission")
    submission = str(place.root / "submission.zip")
    _run("submit", str(final), "--dataset", str(place.dataset), "--out", submission)
    _run("check-submission", submission, "--dataset", str(place.dataset))

    sheet = place.root / "contact_sheet.png"
    shown = steps.contact_sheet(place, scores, sheet)
    typer.echo(f"\nto look at: {sheet} (members and votes on {shown})")


def _run(*arguments: str) -> None:
    """Show a command line of this program, and run it."""
    from fusion_core.cli import app

    typer.echo(f"$ fusion-core {shlex.join(arguments)}")
    if code := app(list(arguments), standalone_mode=False):
        raise typer.Exit(code)


def _import(place: "Place", runs: "Iterable[str]") -> None:
    from fusion_core.commands.convert import import_masks

    typer.echo(
        f"$ for run in {' '.join(runs)}; do fusion-core import --annotations {place.masks}/$run "
        f"--dataset {place.dataset} --out {place.runs}/$run; done"
    )
    for run in runs:
        import_masks(annotations=place.masks / run, dataset=place.dataset, out=place.runs / run)


def _table(scores: "dict[str, Evaluation]") -> "Table":
    from rich.table import Table

    from fusion_core import demo as steps

    made = {
        "drawn, for a model": steps.MODELS,
        "drawn, for a propagation": steps.PROPAGATED,
        "vote of stage 1": steps.STAGE_1,
        "vote of stage 2": steps.STAGE_2,
    }
    how = {run: words for words, runs in made.items() for run in runs}
    table = Table("run", "how it was made")
    for name in ("J&F", "J", "F"):
        table.add_column(name, justify="right")
    for run, evaluation in scores.items():
        means = evaluation.overall
        numbers = [f"{100 * value:.1f}" for value in (means.jf, means.j, means.f)]
        table.add_row(run, how[run], *numbers, style="bold" if how[run].startswith("vote") else None)
    return table
