"""`fusion-core demo`: the whole recipe on synthetic videos, by the commands that users type."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from program_kit.app import plain_app

from fusion_core.commands.recipe import run
from fusion_core.commands.report import report
from fusion_core.commands.submission import check_submission

MARKER = "demo.json"  # a folder with this file was made by a demo, and may be emptied for another one
WORKERS = 2  # the networks are small: most of the time programs start, and that takes one core
SPLIT = "test"  # no weights were trained or chosen with its videos


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder to fill; an interrupted demo there continues, a different one is replaced.")
    ] = Path("work/demo"),
    videos: Annotated[int, typer.Option(min=1, help="Number of videos.")] = 6,
) -> None:
    """Make synthetic videos, run every model, propagation and vote of the recipe on them, and show the scores.

    The recipe is the published one, with the small weights that are bundled with the programs. Nothing but the
    programs' own environments is downloaded, and only the first time.
    """
    from rvos_synthetic.cli import app as rvos_synthetic

    _open_folder(out, videos)
    dataset, runs, result, page = out / "dataset", out / "runs", out / "result", out / "report.html"
    source = ("--dataset", dataset, "--split", SPLIT)
    annotations = dataset / SPLIT / "Annotations"
    _call("rvos-synthetic", rvos_synthetic, "--split", SPLIT, "--videos", videos, "--out", dataset)
    where = ("--recipe", "demo", *source, "--runs", runs)
    _call("fusion-core run", _alone(run), *where, "--out", result, "--workers", WORKERS)
    _call("fusion-core check-submission", _alone(check_submission), result / "submission.zip", *source)
    _call("fusion-core report", _alone(report), *where, "--annotations", annotations, "--out", page)
    typer.echo("\nscores of so few videos vary a lot; docs/demo_results.md has those of more, with their spread")
    typer.echo(f"to look at in a browser: {page.absolute()}")


def _open_folder(out: Path, videos: int) -> None:
    """Make the folder of this demo. That of an earlier demo is emptied, unless that was the same."""
    from mask_interchange.files import remove_abandoned, write_whole
    from rvos_synthetic import EDITION

    asked = {"videos": videos, "edition": EDITION}
    marker = out / MARKER
    remove_abandoned(out)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not marker.is_file())):
        raise typer.BadParameter(f"{out} holds files that are not of a demo; give a new or empty folder with --out")
    if marker.is_file() and json.loads(marker.read_bytes()) != asked:
        for path in (path for path in out.iterdir() if path != marker):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    out.mkdir(parents=True, exist_ok=True)
    write_whole(marker, json.dumps(asked).encode())


def _alone(command: Callable[..., None]) -> typer.Typer:
    """An application that is this one command."""
    app = plain_app()
    app.command()(command)
    return app


def _call(shown: str, app: typer.Typer, *arguments: object) -> None:
    """Show a command line as a user would type it, and carry it out in this process."""
    words = [str(argument) for argument in arguments]
    typer.echo(f"\n$ {shown} {shlex.join(words)}")
    if code := app(words, standalone_mode=False):
        raise typer.Exit(code)
