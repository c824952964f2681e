"""`fusion-core check-dataset`: finds the faults of a data set before hours are spent on it."""

from pathlib import Path
from typing import Annotated

import typer


def check_dataset(
    root: Annotated[Path, typer.Argument(help="Folder in the Ref-YouTube-VOS layout.")],
    split: Annotated[str | None, typer.Option(help="Split of the release, where there are several.")] = None,
) -> None:
    """Name every missing, unreadable or wrongly sized frame and every faulty expression.

    Exit code 0: no faults; 1: faults were found; 2: the data set cannot be opened.
    """
    from mask_interchange import open_dataset

    dataset = open_dataset(root, split)
    faults = dataset.check()
    for fault in faults:
        typer.echo(fault)
    where = f"{dataset.name}, split {dataset.split}" if dataset.split else dataset.name
    typer.echo(f"{where}: {len(dataset.videos)} videos, {len(faults) or 'no'} faults")
    if faults:
        raise typer.Exit(1)
