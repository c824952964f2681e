"""`fusion-core recipe`, `fusion-core plan` and `fusion-core run`: a whole recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from program_kit.messages import about, log, some
from program_kit.options import DeviceOption, Precision, SplitOption, checked_device

if TYPE_CHECKING:
    from fusion_core.recipe.graph import Recipe
    from fusion_core.results.writer import Results
    from fusion_core.running.context import RunContext, Source
    from fusion_core.running.executors.slot import Executor
    from fusion_core.running.runner import Summary

RecipeOption = Annotated[
    str,
    typer.Option(metavar="NAME|FILE", help="iccv2023, iccv2023-faithful, modern, demo, or a file: docs/recipe.md."),
]
DatasetOption = Annotated[Path, typer.Option(metavar="ROOT", help="Data set as it was downloaded.")]
RunsOption = Annotated[Path, typer.Option(help="Folder of the runs, one for each node of the recipe.")]
CheckpointOption = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL=PATH", help="Weights file of one model of the recipe; repeatable."),
]
CheckpointsOption = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER|FILE", help='Weights of all models: a folder of MODEL.*, or TOML (soc = "PATH").'),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        metavar="KIND", help="For models without a file: random:SEED (untrained), bundled or a published name."
    ),
]

PrecisionOption = Annotated[
    Precision | None,
    typer.Option("--precision", help="How exactly networks compute; without it as the recipe says, else strict."),
]


def recipe(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A recipe's name, or a TOML file to check.")],
) -> None:
    """Print a recipe as a TOML file: a start for a recipe of your own."""
    from fusion_core.recipe.named import find_recipe
    from fusion_core.recipe.toml import recipe_as_toml

    typer.echo(recipe_as_toml(find_recipe(name)), nl=False)


def plan(
    dataset: DatasetOption,
    recipe: RecipeOption = "iccv2023",
    split: SplitOption = None,
    runs: RunsOption = Path("runs"),
    checkpoint: CheckpointOption = None,
    checkpoints: CheckpointsOption = None,
    weights: WeightsOption = None,
    precision: PrecisionOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show what `run` would do with the same options: the graph, what is done and missing, and how long it may take."""
    from fusion_core.recipe.named import find_recipe
    from fusion_core.running.context import DatasetSource
    from fusion_core.running.plan import make_plan
    from fusion_core.terminal.plan_table import as_json, as_table
    from fusion_core.terminal.tables import print_table

    source = DatasetSource(root=dataset, split=split)
    context = open_context(find_recipe(recipe), source, runs, checkpoint, checkpoints, weights, "auto", precision)
    made = make_plan(context)
    if json:
        typer.echo(as_json(made))
        return
    print_table(as_table(made))


def run(
    dataset: DatasetOption,
    recipe: RecipeOption = "iccv2023",
    split: SplitOption = None,
    runs: RunsOption = Path("runs"),
    checkpoint: CheckpointOption = None,
    checkpoints: CheckpointsOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster that shares its files.")
    ] = "local",
    address: Annotated[str | None, typer.Option(help="With --executor ray: the cluster, for example `auto`.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of workers; by default one on each GPU, or one on the CPU.")
    ] = None,
    stall: Annotated[
        float,
        typer.Option(
            min=1, max=1_000_000, metavar="SECONDS", help="Replace a worker that gives no sign of life for so long."
        ),
    ] = 1800,
    annotations: Annotated[
        Path | None,
        typer.Option(help="Ground truth for scores; by default the Annotations of the data set, if it has them."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for submission and scores; by default `result` beside `runs`, NAME_result beside NAME."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
) -> None:
    """Make every run of a recipe, then the submission and, if there is ground truth, the scores.

    The same command continues after any interruption. A video is made again only if its frames, the masks it is made
    from, settings or weights have changed. Exit code 1: some videos failed; the rest are done.
    """
    from fusion_core.recipe.named import find_recipe
    from fusion_core.results.writer import check_apart, find_annotations, result_folder, write_results
    from fusion_core.running.context import DatasetSource
    from fusion_core.running.plan import make_plan
    from fusion_core.running.runner import run_plan
    from fusion_core.terminal.live_table import watching
    from fusion_core.terminal.progress import progress_bar

    if address is not None and executor != "ray":
        raise typer.BadParameter("--address goes with --executor ray")
    out = out or result_folder(runs)
    check_apart(runs, out)
    source = DatasetSource(root=dataset, split=split)
    context = open_context(
        find_recipe(recipe), source, runs, checkpoint, checkpoints, weights, device, precision, stall
    )
    plan = make_plan(context)
    with watching(plan, json_lines=json) as listener:
        summary = run_plan(plan, _executor(executor, address, context, workers), listener)
    results = None
    if summary.complete:
        with progress_bar("scores") as progress:
            results = write_results(context, out, annotations or find_annotations(context), progress)
    if json:
        _print_json(summary, results)
    else:
        _print(summary, results)
    if not summary.complete:
        raise typer.Exit(1)


def open_context(
    recipe: "Recipe",
    source: "Source",
    runs: Path,
    checkpoint: list[str] | None,
    checkpoints: Path | None,
    weights: str | None,
    device: str,
    precision: Precision | None,
    stall: float = 1800,
) -> "RunContext":
    """What the options name: the recipe with its weights, the source opened, and the folder of the runs."""
    from fusion_core.recipe.weights import named_checkpoints, stored_checkpoints, with_weights
    from fusion_core.running.context import RunContext

    stored = stored_checkpoints(checkpoints, recipe) if checkpoints else {}
    chosen = recipe if precision is None else recipe.in_precision(precision)
    weighted = with_weights(chosen, stored | named_checkpoints(checkpoint or ()), weights)
    return RunContext.open(weighted, source, runs, checked_device(device), stall)


def _executor(name: str, address: str | None, context: "RunContext", workers: int | None) -> "Executor":
    if name == "ray":
        from fusion_core.running.executors.ray import RayExecutor

        return RayExecutor(address, workers, context.device, context.memory)
    from fusion_core.running.executors.local import LocalExecutor

    local = LocalExecutor(workers, context.device, context.memory)
    if local.limited_by_memory:
        log.info(f"free main memory is enough for {local.slots} workers at a time")
    return local


def _print(summary: "Summary", results: "Results | None") -> None:
    """The outcome, for people."""
    from program_kit.progress import duration

    from fusion_core.results.ablation import as_markdown

    print_failures(summary)
    if results is None:
        log.error(f"{summary.result}: not complete; the same command tries again what is missing")
        return
    typer.echo(f"{summary.result}: complete after {duration(summary.seconds)}")
    typer.echo(f"{results.submission}: {results.masks} masks")
    if results.ablation:
        typer.echo(f"\n{as_markdown(results.ablation)}", nl=False)
    elif results.scores:
        (evaluation,) = (results.scores[run] for run in results.scores)
        typer.echo(f"J&F {100 * evaluation.overall.jf:.1f}")


def print_failures(summary: "Summary") -> None:
    """What could not be made, and how to see what goes wrong."""
    import shlex

    for job, error in summary.given_up.items():
        log.error(f"given up: {job}: {error}", extra=about(job=job))
    for failure in summary.failures:
        again = failure.error == summary.given_up.get(failure.job)
        error = "as above" if again else failure.error
        log.error(f"failed: {failure.job}: {failure.video}: {error}", extra=about(job=failure.job, video=failure.video))
        log.error(f"    to see what goes wrong: {shlex.join(failure.command)}")
    for job, videos in summary.blocked.items():
        log.error(f"not begun: {job}: {some(videos)}", extra=about(job=job, videos=videos))


def _print_json(summary: "Summary", results: "Results | None") -> None:
    import json
    from dataclasses import asdict

    tree = {
        "event": "finished",
        "complete": summary.complete,
        "result": str(summary.result),
        "seconds": round(summary.seconds, 3),
        "given_up": summary.given_up,
        "failures": [asdict(failure) for failure in summary.failures],
        "blocked": summary.blocked,
    }
    if results is not None:
        tree |= {
            "submission": str(results.submission),
            "scores": {run: 100 * evaluation.overall.jf for run, evaluation in results.scores.items()},
            "ablation": [asdict(row) for row in results.ablation],
        }
    typer.echo(json.dumps(tree))
