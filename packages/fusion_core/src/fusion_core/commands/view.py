"""`fusion-core view`: look at runs in the browser, and correct one of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from program_kit.messages import log
from program_kit.options import Damaged, DamagedOption, DatasetOption, SplitOption, VideoOption, open_source

if TYPE_CHECKING:
    from mask_interchange import Dataset

    from fusion_core.running.context import Source


def view(
    out: Annotated[
        Path | None, typer.Argument(help="Folder that `segment` or `run` filled; it knows its video or data set.")
    ] = None,
    runs: Annotated[Path | None, typer.Option(help="Folder that holds the runs; by default `runs`.")] = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    video: VideoOption = None,
    damaged: DamagedOption = "stop",
    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The run to correct; by default the one corrected before, else one that no other was made of.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Show every run frame by frame in the browser, and correct one: the result is the run `corrected` beside them.

    The page can be reached from this machine only. Ctrl-C ends it; corrections are kept, and the same command goes on.
    """
    from fusion_core.view.clicks import Clicks
    from fusion_core.view.corrected_run import CorrectedRun
    from fusion_core.view.library import Library, open_runs
    from fusion_core.view.propagation import Propagation
    from fusion_core.view.server import serve

    if out is not None and runs is not None:
        raise typer.BadParameter("give the folder once: OUT, or --runs")
    found = open_runs(out or runs or Path("runs"))
    folder = found[0].path.parent
    source, opened = _source(folder, dataset, split, video, damaged)
    with CorrectedRun(Library(dataset=opened, runs=found, folder=folder), run) as corrected:
        if corrected.read_only is not None:
            log.warning(f"nothing can be corrected: {corrected.read_only}")
        data = source.arguments(expressions=False)
        with Propagation(corrected, data) as propagation, Clicks(corrected, data) as clicks:
            serve(corrected, propagation, clicks, port, _say_address, browser=browser)
    if corrected.path.is_dir():
        typer.echo(f"{corrected.path}: the corrections, as a run")


def _source(
    runs: Path, dataset: Path | None, split: str | None, video: Path | None, damaged: Damaged
) -> "tuple[Source, Dataset]":
    """The video or data set of the options, else the one that the runs were made on."""
    from fusion_core.running.context import DatasetSource, VideoSource, recorded_source

    if dataset is None and video is None and split is None:
        if (recorded := recorded_source(runs)) is None:
            raise typer.BadParameter(f"{runs}: does not say what it was made on; give --dataset ROOT or --video PATH")
        return recorded, recorded.open()
    opened = open_source(dataset, split, video, damaged=damaged)
    if dataset is not None:
        return DatasetSource(root=dataset, split=split), opened
    assert video is not None  # checked by `open_source`
    return VideoSource(path=video, expressions=(), damaged=damaged), opened


def _say_address(address: str) -> None:
    typer.echo(f"{address}\nCtrl-C ends it")
