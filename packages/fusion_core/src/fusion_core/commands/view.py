"""`fusion-core view`: look at runs in the browser, and correct one of them."""

from pathlib import Path
from typing import Annotated

import typer
from program_kit.messages import log
from program_kit.options import DamagedOption, DatasetOption, SplitOption, VideoOption, open_source


def view(
    runs: Annotated[Path, typer.Option(help="Folder that holds the runs, or the one that `segment` filled.")] = Path(
        "runs"
    ),
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
    from fusion_core.running.context import DatasetSource, VideoSource
    from fusion_core.view.corrected_run import CorrectedRun
    from fusion_core.view.library import Library, open_runs
    from fusion_core.view.propagation import Propagation
    from fusion_core.view.server import serve

    opened = open_source(dataset, split, video, damaged=damaged)
    if video is None:
        assert dataset is not None  # checked by `open_source`
        source = DatasetSource(root=dataset, split=split)
    else:
        source = VideoSource(path=video, expressions=(), damaged=damaged)
    found = open_runs(runs)
    with CorrectedRun(Library(dataset=opened, runs=found, folder=found[0].path.parent), run) as corrected:
        if corrected.read_only is not None:
            log.warning(f"nothing can be corrected: {corrected.read_only}")
        with Propagation(corrected, source.arguments(expressions=False)) as propagation:
            serve(corrected, propagation, port, _say_address, browser=browser)
    if corrected.path.is_dir():
        typer.echo(f"{corrected.path}: the corrections, as a run")


def _say_address(address: str) -> None:
    typer.echo(f"{address}\nCtrl-C ends it")
