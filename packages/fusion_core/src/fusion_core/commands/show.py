"""`fusion-core show`: what is in a run."""

from pathlib import Path
from typing import Annotated

import typer


def show(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the manifest of a run, and how much is in it."""
    from json import dumps, loads

    from mask_interchange import MaskRun

    opened = MaskRun.open(run)
    expressions = frames = empty = 0
    videos = opened.videos()
    for video in videos:
        masks = opened.read(video)
        expressions += len(masks.tracks)
        frames += len(masks.tracks) * len(masks.frame_names)
        empty += sum(int((track.runs.areas() == 0).sum()) for track in masks.tracks)
    manifest = opened.manifest.to_json()
    if json:
        counts = {"videos": len(videos), "expressions": expressions, "masks": frames, "empty": empty}
        typer.echo(dumps({"manifest": loads(manifest), **counts}, indent=1, ensure_ascii=False))
        return
    typer.echo(manifest, nl=False)
    typer.echo(f"{len(videos)} videos, {expressions} expressions, {frames} masks, {empty} of them empty")
