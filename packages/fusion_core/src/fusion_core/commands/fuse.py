"""`fusion-core fuse`: the votes of the published recipe, or any other vote."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from program_kit.messages import about, log

from fusion_core.errors import FusionCoreError, MemberError
from fusion_core.recipe.nodes import Pairing, Vote, VoteRule
from fusion_core.recipe.published import ICCV2023
from fusion_core.terminal.progress import progress_bar
from fusion_core.terminal.tables import print_table

if TYPE_CHECKING:
    from fusion_core.voting.fused_run import FusedRun


def fuse(
    stage: Annotated[int | None, typer.Option(help="Vote as in stage 1 or 2 of the published recipe.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the member runs, and of the fused runs of a stage.")] = Path(
        "runs"
    ),
    members: Annotated[
        str | None,
        typer.Option(help="Instead of a stage: runs that vote, separated by commas; names in --runs, or paths."),
    ] = None,
    threshold: Annotated[
        int | None,
        typer.Option(help="Votes that make a pixel foreground, out of two per member (one with --pairing none)."),
    ] = None,
    leftover: Annotated[
        str | None,
        typer.Option(
            help="For an expression without a partner: votes needed out of one per member, or `first` for the first"
            " member's own mask. By default the same share as --threshold."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --members: the run to write.")] = None,
    pairing: Annotated[
        Pairing | None,
        typer.Option(
            help="Which expressions pool their votes. `auto`: those of one object where the data set names objects, all"
            " others vote alone; `groups`: those of one object; `none`: each votes alone; `agreement`: neighbours whose"
            " masks agree; `consecutive`: neighbours in pairs, as published.",
            show_default="auto; consecutive with --stage or --leftover",
        ),
    ] = None,
    rule: Annotated[
        VoteRule,
        typer.Option(
            help="What is counted. `count`: masks; `mean`: the probabilities in runs made with --soft-masks, whose mean"
            " must reach the same share."
        ),
    ] = "count",
    faithful: Annotated[
        bool,
        typer.Option("--faithful", help="With --stage: repeat the published script's mistake in leftover expressions."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each run instead of tables.")] = False,
) -> None:
    """Vote over runs, pixel by pixel.

    Either --stage N, or --members A,B,... with --threshold and --out. Videos that are voted already stay, unless a
    member's file has changed. Exit code 1: some videos failed; the rest are done.
    """
    _check_options(stage, members, threshold, leftover, out, pairing, faithful)
    if stage is not None:
        published = [vote if faithful else vote.corrected() for vote in ICCV2023.stage(stage)]
        votes = {runs / vote.name: replace(vote, pairing=pairing or vote.pairing, rule=rule) for vote in published}
        members_of = {run: [runs / member for member in vote.members] for run, vote in votes.items()}
    else:
        assert members is not None  # checked above, like the next two
        assert threshold is not None
        assert out is not None
        paths = [Path(member) if len(Path(member).parts) > 1 else runs / member for member in members.split(",")]
        _check_names(paths)
        left_over = _leftover(leftover)
        pairing = pairing or Pairing.default(left_over)
        vote = Vote(
            name=out.name,
            members=tuple(path.name for path in paths),
            threshold=threshold,
            out_of=pairing.votes_cast(len(paths)),
            leftover=left_over,
            pairing=pairing,
            rule=rule,
        )
        votes, members_of = {out: vote}, {out: paths}
    _check_members(members_of)
    failed = 0
    for run, vote in votes.items():
        failed += _vote(run, vote, members_of[run], _print_json if json else _print)
    if failed:
        raise typer.Exit(1)


def _check_options(
    stage: int | None,
    members: str | None,
    threshold: int | None,
    leftover: str | None,
    out: Path | None,
    pairing: Pairing | None,
    faithful: bool,
) -> None:
    if (stage is None) == (members is None):
        raise typer.BadParameter("give either --stage N or --members A,B,...")
    if stage is not None and not (threshold is None and leftover is None and out is None):
        raise typer.BadParameter(
            "--stage has its own thresholds and names; --threshold, --leftover and --out go with --members"
        )
    if members is not None and (threshold is None or out is None):
        raise typer.BadParameter("--members needs --threshold and --out")
    if faithful and (stage is None or pairing not in {None, Pairing.CONSECUTIVE}):
        raise typer.BadParameter(
            "--faithful repeats the published votes: it goes with --stage and --pairing consecutive"
        )


def _check_names(members: Sequence[Path]) -> None:
    """Runs are told apart by their names; a run that is given twice has two votes."""
    by_name: dict[str, Path] = {}
    for path in members:
        if (other := by_name.setdefault(path.name, path)) != path:
            raise typer.BadParameter(f"--members: {other} and {path} have one name; rename a folder")


def _leftover(text: str | None) -> int | Literal["first"] | None:
    if text is None or text == "first":
        return text
    if not text.isdecimal():
        raise typer.BadParameter(f"--leftover is `first` or a number of votes, not {text!r}")
    return int(text)


def _check_members(members_of: dict[Path, list[Path]]) -> None:
    """Each member must be an existing run, or one that this call makes."""
    needed = dict.fromkeys(path for paths in members_of.values() for path in paths)
    missing = [path for path in needed if path not in members_of and not (path / "run.json").is_file()]
    if missing:
        raise MemberError(
            f"no run at {', '.join(map(str, missing))}; make it with the program of that name (--out {missing[0]}), or"
            f" from a folder of PNG masks with `fusion-core import --annotations DIR --out {missing[0]}`"
        )


@dataclass(frozen=True)
class _Voted:
    """How many videos were voted now, were voted before, and failed."""

    videos: int
    before: int
    failed: int


def _vote(out: Path, vote: Vote, members: Sequence[Path], show: "Callable[[FusedRun, _Voted], None]") -> int:
    """Make one fused run, and show the outcome; returns how many videos failed."""
    from mask_interchange import MaskInterchangeError, MaskRun
    from mask_interchange.files import is_disk_full
    from rvos_evaluation.threads import in_threads

    from fusion_core.voting.fused_run import FusedRun

    fused = FusedRun(vote, [MaskRun.open(path) for path in members], out)
    if fused.start():
        log.info(f"{out}: voting all videos again because a member has changed")

    def failure(video: str) -> str | None:
        try:
            fused.fuse(video)
        except (FusionCoreError, MaskInterchangeError) as error:
            return str(error)
        return None

    failed = 0
    with fused.run.writing(), progress_bar(vote.name) as progress:
        pending = fused.pending()
        progress(0, len(pending))
        try:
            for done, (video, error) in enumerate(zip(pending, in_threads(failure, pending), strict=True), start=1):
                if error is not None:
                    log.error(f"failed: {error}", extra=about(video=video))
                    failed += 1
                progress(done, len(pending))
        except OSError as error:
            if not is_disk_full(error):
                raise
            log.error(f"failed: the disk is full: {out}; make room, the same command continues")
            raise typer.Exit(1) from error
    show(fused, _Voted(len(pending) - failed, len(fused.videos()) - len(pending), failed))
    return failed


def _print(fused: "FusedRun", voted: _Voted) -> None:
    """What was voted, and how each member agrees with the result over all pixels of all videos."""
    from rich.table import Table

    out = fused.run.path
    typer.echo(f"{out}: {voted.videos} videos voted, {voted.before} were voted before, {voted.failed} failed")
    if not voted.videos + voted.before:
        return
    table = Table("member", box=None, pad_edge=False)
    for title in ("IoU with result", "its pixels overruled", "result it missed"):
        table.add_column(title, justify="right")
    for name, one in zip(fused.node.inputs, fused.agreements(), strict=True):
        table.add_row(name, f"{one.iou:.3f}", f"{one.overruled:.1%}", f"{one.missed:.1%}")
    print_table(table)


def _print_json(fused: "FusedRun", voted: _Voted) -> None:
    from json import dumps

    agreements = zip(fused.node.inputs, fused.agreements(), strict=True) if voted.videos + voted.before else ()
    members = [
        {"name": name, "iou": one.iou, "overruled": one.overruled, "missed": one.missed} for name, one in agreements
    ]
    typer.echo(dumps({"run": str(fused.run.path), **asdict(voted), "members": members}))
