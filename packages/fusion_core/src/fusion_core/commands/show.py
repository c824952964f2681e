"""`fusion-core show`: what is in a run."""

from pathlib import Path
from typing import Annotated

import typer


def show(run: Annotated[Path, typer.Argument(help="Run folder.")]) -> None:
    """Print the manifest of a run, and how much is in it."""
    from mask_interchange import MaskRun

    opened = MaskRun.open(run)
    typer.echo(opened.manifest.to_json(), nl=False)
    expressions = frames = empty = 0
    videos = opened.videos()
    for video in videos:
        masks = opened.read(video)
        expressions += len(masks.tracks)
        frames += len(masks.tracks) * len(masks.frame_names)
        empty += sum(int((track.runs.areas() == 0).sum()) for track in masks.tracks)
    typer.echo(f"{len(videos)} videos, {expressions} expressions, {frames} masks, {empty} of them empty")
