"""The command `demo-weights`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from program_kit.app import plain_app, user_errors

app = plain_app(help="Train, score and ship the small weights of the programs.", no_args_is_help=True)

ModelsArgument = Annotated[list[str] | None, typer.Argument(help="All of them by default.")]
WorkOption = Annotated[Path, typer.Option(help="Folder for videos, trainings and runs; keeps what it has.")]
WORK = Path("work/demo_weights")
RESULTS, PICTURE = Path("docs/demo_results.md"), Path("docs/pictures/demo_ablation.svg")
REAL = "davis_mini"  # in the folder that RVOS_DATA names


@app.command()
def train(
    models: ModelsArgument = None,
    work: WorkOption = WORK,
    stages: Annotated[str | None, typer.Option(metavar="NAME,NAME", help="Only these stages.")] = None,
    share: Annotated[float, typer.Option(min=0.0, help="Fraction of the samples to train on; less is faster.")] = 1.0,
    device: Annotated[str, typer.Option(metavar="auto|cpu", help="Where to compute.")] = "auto",
) -> None:
    """Train models through all of their stages and ship their weights. The same command resumes a stopped training."""
    with _errors():
        from demo_weights.training import train, write_data

        write_data(work / "data")
        for model in _known(models):
            chosen = None if stages is None else _stages(model, stages)
            train(model, work / "data", work / model, stages=chosen, share=share, device=device)
            _ship(model, work)


@app.command()
def ship(models: ModelsArgument = None, work: WorkOption = WORK) -> None:
    """Put the best weights so far into their packages, half precision, with test scores and a model card."""
    with _errors():
        for model in _known(models):
            _ship(model, work)


@app.command()
def score(
    work: WorkOption = WORK,
    results: Annotated[Path, typer.Option(help="Markdown file to write.")] = RESULTS,
    image: Annotated[Path, typer.Option(help="SVG of the ablation to write.")] = PICTURE,
) -> None:
    """Score every program that ships weights, and the recipe of them all, on the test videos; write tables and plot.

    Propagators are also scored on real videos, the folder davis_mini in that of the variable RVOS_DATA; without them
    the page says so.
    """
    with _errors():
        from demo_weights.results import page, picture
        from demo_weights.shipping import run_recipe, score, shipped
        from demo_weights.stages import is_propagator
        from demo_weights.training import write_data

        write_data(work / "data")
        found = [model for model in _known(None) if shipped(model).path.is_file()]
        from demo_weights.propagators import score_on_real_frames  # of models that are installed

        scores = {model: score(model, work / "data", work) for model in found}
        steps, agreed = run_recipe(work / "data", work)
        propagators = list(filter(is_propagator, scores))
        real = Path(os.environ.get("RVOS_DATA", "")) / REAL
        on_real = {model: score_on_real_frames(model, real, work) for model in propagators if real.is_dir()}
        results.write_text(page(scores, propagators, steps, agreed, on_real), encoding="utf-8")
        image.write_text(picture(steps), encoding="utf-8")


def _ship(model: str, work: Path) -> None:
    from demo_weights.shipping import ship

    means = ship(model, work / "data", work)
    typer.echo(f"{model}: J&F {100 * means.jf:.1f} on the test videos")


def _known(models: list[str] | None) -> list[str]:
    from demo_weights.errors import DemoWeightsError
    from demo_weights.stages import STAGES
    from demo_weights.training import package

    unknown = set(models or ()) - set(STAGES)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: expected one of {', '.join(STAGES)}")
    known = models or list(STAGES)
    if missing := {package(model) for model in known if find_spec(package(model)) is None}:
        raise DemoWeightsError(f"not installed: {', '.join(sorted(missing))}; see tools/demo_weights/README.md")
    return known


def _stages(model: str, names: str) -> list[str]:
    from demo_weights.stages import STAGES

    known = [stage.name for stage in STAGES[model]]
    if unknown := set(names.split(",")) - set(known):
        raise typer.BadParameter(f"--stages {', '.join(sorted(unknown))}: {model} has {', '.join(known)}")
    return names.split(",")


@contextmanager
def _errors() -> Iterator[None]:
    """End with one line on user errors."""
    from rvos_evaluation.errors import EvaluationError
    from rvos_layers.errors import RVOSLayersError
    from rvos_synthetic import SyntheticError
    from rvos_training.errors import TrainingError

    from demo_weights.errors import DemoWeightsError

    errors = (DemoWeightsError, TrainingError, SyntheticError, RVOSLayersError, EvaluationError)
    with user_errors("demo-weights", *errors, continues="the same command resumes"):
        yield


def main() -> None:
    """Entry point of the console script `demo-weights`."""
    app()
