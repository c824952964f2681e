"""`fusion-core check-dataset`: finds the faults of a data set before hours are spent on it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusion_core.terminal.progress import progress_bar

if TYPE_CHECKING:
    from mask_interchange.faults import Fault

LISTED = 10  # videos with faults of one kind whose first fault is shown


def check_dataset(
    root: Annotated[Path, typer.Argument(help="Folder in the Ref-YouTube-VOS layout.")],
    split: Annotated[str | None, typer.Option(help="Split of the release, where there are several.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Read the headers of images only; a picture that is cut off looks sound.")
    ] = False,
) -> None:
    """Name every missing, unreadable or wrongly sized frame and every faulty expression.

    All frames are decoded. Exit code 0: no faults; 1: faults were found; 2: the data set cannot be opened.
    """
    from mask_interchange import open_dataset

    dataset = open_dataset(root, split)
    faults: dict[str, list[Fault]] = {}
    with progress_bar("videos") as progress:
        for done, video in enumerate(dataset.videos):
            progress(done, len(dataset.videos))
            faults[video] = dataset.check_video(video, decode=not quick)
    for line in _grouped(faults):
        typer.echo(line)
    where = f"{dataset.name}, split {dataset.split}" if dataset.split else dataset.name
    typer.echo(f"{where}: {len(dataset.videos)} videos, {sum(map(len, faults.values())) or 'no'} faults")
    if any(faults.values()):
        raise typer.Exit(1)


def _grouped(faults: "Mapping[str, Sequence[Fault]]") -> Iterator[str]:
    """Lines that show the faults by kind: a line for each video, and the names of videos and frames that are alike."""
    from mask_interchange.faults import FaultKind

    for kind in FaultKind:
        alike = {video: [fault for fault in of_video if fault.kind is kind] for video, of_video in faults.items()}
        alike = {video: found for video, found in alike.items() if found}
        if not alike:
            continue
        yield f"{kind} ({sum(map(len, alike.values()))})"
        for first, *others in list(alike.values())[:LISTED]:
            more = f" (the same in {', '.join(str(fault.frame) for fault in others)})" if others else ""
            yield f"    {first}{more}"
        if rest := list(alike)[LISTED:]:
            yield f"    and the same in {len(rest)} more videos: {', '.join(rest)}"
