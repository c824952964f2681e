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
    from mask_interchange.rle import empty_mask

    opened = MaskRun.open(run)
    expressions = frames = empty = 0
    videos = opened.videos()
    for video in videos:
        masks = opened.open_video(video)  # one mask at a time: small files may hold large ones
        nothing = empty_mask(masks.size)
        expressions += len(masks.tracks)
        for track in masks.tracks:
            frames += len(track)
            empty += sum(track.counts(i) == nothing for i in range(len(track)))
    manifest = opened.manifest.to_json()
    if json:
        counts = {"videos": len(videos), "expressions": expressions, "masks": frames, "empty": empty}
        typer.echo(dumps({"manifest": loads(manifest), **counts}, indent=1, ensure_ascii=False))
        return
    typer.echo(manifest, nl=False)
    typer.echo(f"{len(videos)} videos, {expressions} expressions, {frames} masks, {empty} of them empty")
