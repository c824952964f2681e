"""`fusion-core check-dataset` and `convert-dataset`: before hours are spent on a data set."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusion_core.terminal.progress import progress_bar

if TYPE_CHECKING:
    from mask_interchange import Dataset
    from mask_interchange.faults import Fault

LISTED = 10  # videos with faults of one kind whose first fault is shown


def check_dataset(
    root: Annotated[Path, typer.Argument(help="Folder of the data set, or the JSON file that describes it.")],
    split: Annotated[str | None, typer.Option(help="Split of the release, where there are several.")] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Read the headers of frames only, and no masks; half a picture looks sound then."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Name every missing, unreadable or wrongly sized frame, every faulty expression, and masks that do not fit.

    All frames are decoded, and the masks that the data set brings. Exit code 0: no faults; 1: faults were found; 2: the
    data set cannot be opened.
    """
    from mask_interchange import open_dataset
    from rvos_evaluation.truth_check import TruthCheck

    dataset = open_dataset(root, split)
    truth = None if quick or dataset.truth is None else TruthCheck(dataset)
    faults: dict[str, list[Fault]] = {}
    with progress_bar("videos") as progress:
        for done, video in enumerate(dataset.videos):
            progress(done, len(dataset.videos))
            faults[video] = [
                *dataset.check_video(video, decode=not quick),
                *(truth.faults(video) if truth is not None else ()),
            ]
    if json:
        _print_json(dataset, faults)
    else:
        for line in _grouped(faults):
            typer.echo(line)
        where = f"{dataset.name}, split {dataset.split}" if dataset.split else dataset.name
        typer.echo(f"{where}: {len(dataset.videos)} videos, {sum(map(len, faults.values())) or 'no'} faults")
    if any(faults.values()):
        raise typer.Exit(1)


def _print_json(dataset: "Dataset", faults: "Mapping[str, Sequence[Fault]]") -> None:
    from json import dumps

    listed = [
        {"video": video, "frame": fault.frame, "kind": fault.kind, "text": str(fault)}
        for video, of_video in faults.items()
        for fault in of_video
    ]
    tree = {"dataset": dataset.name, "split": dataset.split, "videos": len(dataset.videos), "faults": listed}
    typer.echo(dumps(tree, indent=1, ensure_ascii=False))


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
            yield f"    {first}{_others(others)}"
        if rest := list(alike)[LISTED:]:
            yield f"    and the same in {len(rest)} more videos: {', '.join(rest)}"


def _others(faults: "Sequence[Fault]") -> str:
    """What to say of more faults of one kind in one video."""
    if not faults:
        return ""
    frames = [fault.frame for fault in faults if fault.frame is not None]
    return f" (the same in {', '.join(frames)})" if len(frames) == len(faults) else f" (and {len(faults)} more)"


def convert_dataset(
    root: Annotated[Path, typer.Argument(help="Folder of the data set as it was downloaded; it is not changed.")],
    out: Annotated[Path, typer.Option(help="Folder to write; new or empty.")],
    images: Annotated[
        Path | None,
        typer.Option(help="RefCOCO: folder of COCO's train2014; also writes data sets to predict and score on."),
    ] = None,
    partition: Annotated[
        str | None, typer.Option(help="RefCOCO: whose division into splits, where there are several: unc, umd, google.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(help="JHMDB-Sentences: jhmdb_sentences_samples_metadata.json with the frames to score."),
    ] = None,
) -> None:
    """Write A2D-Sentences, JHMDB-Sentences, RefCOCO/+/g or gRefCOCO as data sets that all programs read.

    Other data sets are read where they lie. What was read and how much was written stands in `conversion.json`.
    """
    from mask_interchange.files import new_folder

    from fusion_core.conversion import find_conversion
    from fusion_core.conversion.conversion import Request

    conversion = find_conversion(root)
    request = Request(root=root, images=images, partition=partition, samples=samples)
    with new_folder(out) as unfinished, progress_bar(conversion.name) as progress:
        done = conversion.convert(request, unfinished, progress)
        done.write(unfinished)
    for note in done.notes[:LISTED]:
        typer.echo(f"note: {note}")
    if len(done.notes) > LISTED:
        typer.echo(f"note: and {len(done.notes) - LISTED} more in conversion.json")
    typer.echo(
        f"{out}: {conversion.name}, {done.videos} videos or images, {done.expressions} sentences "
        f"({done.nothing} mean nothing), {done.masks} masks"
    )
