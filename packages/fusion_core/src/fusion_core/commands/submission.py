"""`fusion-core submit` and `fusion-core check-submission`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fusion_core.terminal.progress import progress_bar

if TYPE_CHECKING:
    from fusion_core.submission.findings import SubmissionCheck

LISTED = 10  # findings of one kind that the text shows

DatasetOption = Annotated[
    Path | None, typer.Option(help="Data set with the videos, expressions and frames that are required.")
]
SplitOption = Annotated[str | None, typer.Option(help="Split of the data set, for example test.")]


ForOption = Annotated[
    Literal["ref-youtube-vos", "mevis"],  # see `fusion_core.submission.forms`
    typer.Option("--for", help="Challenge: Annotations/<video>/... in the zip file, or <video>/... at its top."),
]


def submit(
    run: Annotated[Path, typer.Argument(help="Run folder to submit.")],
    out: Annotated[Path, typer.Option(help="Zip file to write.")],
    dataset: DatasetOption = None,
    split: SplitOption = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Instead of a data set: write what the run has, finished or not.")
    ] = False,
    challenge: ForOption = "ref-youtube-vos",
) -> None:
    """Write a run as a challenge submission: masks <video>/<expression>/<frame>.png in a zip file."""
    from mask_interchange import MaskRun, open_dataset

    from fusion_core.submission.forms import FORMS
    from fusion_core.submission.writer import write_submission

    if dataset is not None and partial:
        raise typer.BadParameter("give either --dataset ROOT or --partial, not both")
    if dataset is None and not partial:
        raise typer.BadParameter(
            "give --dataset ROOT, which says what a submission must hold, or --partial to write what the run has"
        )
    with progress_bar("videos") as progress:
        opened = open_dataset(dataset, split) if dataset else None
        masks = write_submission(MaskRun.open(run), out, opened, progress, FORMS[challenge])
    note = "; whether the run is finished was not checked" if partial else ""
    typer.echo(f"wrote {masks} masks to {out}, at {FORMS[challenge].layout}{note}")


def check_submission(
    file: Annotated[Path, typer.Argument(help="Zip file of any origin.")],
    dataset: DatasetOption = None,
    split: SplitOption = None,
    challenge: ForOption = "ref-youtube-vos",
    json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """List every fault of a submission; exit code 1 if there is one."""
    from mask_interchange import open_dataset

    from fusion_core.submission.checker import check_submission
    from fusion_core.submission.forms import FORMS

    with progress_bar("masks") as progress:
        result = check_submission(file, open_dataset(dataset, split) if dataset else None, progress, FORMS[challenge])
    typer.echo(_as_json(result) if json else _as_text(result, file))
    if result.faults:
        raise typer.Exit(1)


def _as_text(result: "SubmissionCheck", file: Path) -> str:
    lines = []
    for kind, findings in result.by_kind().items():
        level = "warning" if findings[0] in result.warnings else "FAULT"
        lines.append(f"{level}: {kind} ({len(findings)})")
        lines += [f"    {finding}" for finding in findings[:LISTED]]
        if len(findings) > LISTED:
            lines.append(f"    and {len(findings) - LISTED} more; --json lists all")
    if not result.complete:
        lines.append("note: without --dataset, missing videos and expressions cannot be found")
    lines.append(
        f"{file}: {result.masks} masks of {result.videos} videos, {len(result.faults)} faults, "
        f"{len(result.warnings)} warnings"
    )
    return "\n".join(lines)


def _as_json(result: "SubmissionCheck") -> str:
    import json

    groups = {
        str(kind): [{"where": one.where, "detail": one.detail} for one in findings]
        for kind, findings in result.by_kind().items()
    }
    counts = {"masks": result.masks, "videos": result.videos, "faults": len(result.faults)}
    return json.dumps(counts | {"warnings": len(result.warnings), "findings": groups}, indent=1, ensure_ascii=False)
