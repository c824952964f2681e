"""`fusion-core import`: runs from formats of other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from program_kit.messages import some

from fusion_core.commands.export import print_note
from fusion_core.terminal.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mask_interchange import Dataset, RunManifest


def import_masks(
    out: Annotated[Path, typer.Option(help="Run to write; a new or empty folder.")],
    annotations: Annotated[
        Path | None,
        typer.Option(help="Folder of <video>/<expression>/<frame>.png masks or <video>/<frame>.png label images."),
    ] = None,
    coco: Annotated[
        Path | None,
        typer.Option(help="Instead: JSON file of COCO or YouTube-VIS, or with --dataset MeViS's mask_dict.json."),
    ] = None,
    key_frames: Annotated[
        Path | None, typer.Option(help="key_frame.json of the masks, if it is not beside their folder.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Data set with the expressions, their order and their objects.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set.")] = None,
) -> None:
    """Make a run from PNG masks or COCO JSON, whole or not at all."""
    from mask_interchange import DatasetError, MaskRun, open_dataset
    from mask_interchange.coco import import_coco
    from mask_interchange.files import new_folder
    from mask_interchange.mask_dict import import_mask_dict
    from mask_interchange.names import file_key
    from mask_interchange.png_folders import import_annotations

    if (annotations is None) == (coco is None):
        raise typer.BadParameter("give either --annotations FOLDER or --coco FILE")
    if coco is not None and key_frames is not None:
        raise typer.BadParameter("--key-frames goes with --annotations")
    opened = open_dataset(dataset, split) if dataset else None
    if annotations is not None:
        source, videos = annotations, import_annotations(annotations, key_frames=key_frames, dataset=opened)
    else:
        assert coco is not None
        source, videos = coco, import_coco(coco) if opened is None else import_mask_dict(coco, opened)

    with new_folder(out) as unfinished:
        run = MaskRun.create(unfinished, _manifest(source, opened))
        with run.writing(), progress_bar("videos") as progress:
            found: dict[str, int] = {}
            names: dict[str, str] = {}
            for masks in videos:
                if (twin := names.setdefault(file_key(masks.video), masks.video)) != masks.video:
                    raise DatasetError(
                        f"videos {twin!r} and {masks.video!r} are one file name on some systems; rename one"
                    )
                run.write(masks)
                found[masks.video] = len(masks.tracks)
                progress(len(found), None)
    typer.echo(f"{out}: {len(found)} videos imported")
    if opened:
        _print_absent(found, opened)


def _print_absent(found: "Mapping[str, int]", dataset: "Dataset") -> None:
    """Say what of a data set has no masks; `found` are the numbers of expressions by video."""
    if absent := [video for video in dataset.videos if video not in found]:
        print_note(f"{len(absent)} of {len(dataset.videos)} videos of the data set have no masks: {some(absent)}")
    if partial := [video for video, count in found.items() if count < len(dataset.videos[video].expressions)]:
        print_note(f"{len(partial)} videos lack masks of some expressions: {some(partial)}")


def _manifest(source: Path, dataset: "Dataset | None") -> "RunManifest":
    from mask_interchange import RunManifest
    from program_kit.distributions import version_of

    return RunManifest(
        producer="fusion-core import",
        producer_version=version_of("fusion-core"),
        settings={"source": source.resolve().name},
        dataset=dataset.identity if dataset else {"name": source.stem, "split": None, "fingerprint": None},
    )
