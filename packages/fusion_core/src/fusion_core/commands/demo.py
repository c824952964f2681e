"""`fusion-core demo`: the whole recipe on drawn videos, by the commands that users type."""

import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from typer import Typer

MARKER = "demo.json"  # a folder with this file was made by a demo, and may be emptied for another one
WORKERS = 2  # small networks: most of the time programs start, which takes one core
SPLIT = "test"  # no weights were trained, chosen or stopped with its videos


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder to fill; an interrupted demo there goes on, a different one is replaced.")
    ] = Path("work/demo"),
    videos: Annotated[int, typer.Option(min=1, help="How many videos to draw.")] = 6,
) -> None:
    """Draw videos, let every model, propagation and vote of the recipe work on them, score the result and show it.

    The recipe is the published one, with the small weights that the programs ship. Nothing but the programs' own
    environments is downloaded, and only the first time.
    """
    from rvos_synthetic.cli import app as drawing

    from fusion_core.cli import app

    _open_folder(out, videos)
    dataset, runs, result, page = out / "dataset", out / "runs", out / "result", out / "report.html"
    drawn = ("--dataset", dataset, "--split", SPLIT)
    _run(drawing, "rvos-synthetic", "--split", SPLIT, "--videos", videos, "--out", dataset)
    _run(app, "fusion-core", "run", "--recipe", "demo", *drawn, "--runs", runs, "--out", result, "--workers", WORKERS)
    _run(app, "fusion-core", "check-submission", result / "submission.zip", *drawn)
    shown = ("--annotations", dataset / SPLIT / "Annotations", "--out", page)
    _run(app, "fusion-core", "report", "--recipe", "demo", *drawn, "--runs", runs, *shown)
    typer.echo("\nscores of so few videos vary a lot; docs/demo_results.md has those of 40")
    typer.echo(f"to look at in a browser: {page.absolute()}")


def _open_folder(out: Path, videos: int) -> None:
    """A folder for this demo: a new or empty one, or an earlier demo's, emptied unless that was the same."""
    from mask_interchange.files import write_whole
    from rvos_synthetic import EDITION

    asked = {"videos": videos, "edition": EDITION}
    marker = out / MARKER
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not marker.is_file())):
        raise typer.BadParameter(f"{out} holds files that are not of a demo; give a new or empty folder with --out")
    if marker.is_file() and json.loads(marker.read_bytes()) != asked:
        for path in (path for path in out.iterdir() if path != marker):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    out.mkdir(parents=True, exist_ok=True)
    write_whole(marker, json.dumps(asked).encode())


def _run(app: "Typer", program: str, *arguments: object) -> None:
    """Show a command line, and run it here."""
    words = [str(argument) for argument in arguments]
    typer.echo(f"\n$ {shlex.join([program, *words])}")
    if code := app(words, standalone_mode=False):
        raise typer.Exit(code)
