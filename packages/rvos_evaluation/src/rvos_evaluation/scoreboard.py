"""An evaluation as a table for people, and as JSON and CSV for programs.

Scores are fractions in [0, 1] in JSON and CSV, and percentages in the table, as papers print them.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from mask_interchange.files import temporary_folder, write_whole
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rvos_evaluation.comparison import Target, TargetScores
from rvos_evaluation.evaluation import Evaluation, Means
from rvos_evaluation.metrics import Statistics

LISTED = 10  # missing or unscored items below the table; the files list all


def as_table(evaluation: Evaluation) -> RenderableType:
    """One row for each video, the overall mean below, then what is missing."""
    table = Table(title=f"{evaluation.run}, protocol {evaluation.protocol}", title_justify="left")
    table.add_column("video", no_wrap=True)
    for name in ("targets", "J&F", "J", "F"):
        table.add_column(name, justify="right")
    for video in evaluation.videos:
        table.add_row(video.video, str(len(video.targets)), *_percent(Means.over(video.targets)))
    table.add_section()
    for number, means in enumerate(evaluation.annotators):
        table.add_row(f"annotator {number}", "", *_percent(means))
    table.add_row("mean over targets", str(len(evaluation.targets)), *_percent(evaluation.overall), style="bold")
    for name, value in evaluation.measures.items():
        table.add_row(name, "", f"{100 * value:.1f}", "", "")
    return Group(
        table,
        *_list("missing in the run", evaluation.missing),
        *_list("not scored because not annotated", evaluation.unscored),
    )


def as_json(evaluation: Evaluation) -> str:
    """Everything, with the scores of every frame."""
    tree = {
        "run": evaluation.run,
        "protocol": evaluation.protocol,
        "overall": _means(evaluation.overall) | {"targets": len(evaluation.targets)},
        "measures": evaluation.measures,
        "annotators": [_means(means) for means in evaluation.annotators],
        "missing": evaluation.missing,
        "unscored": list(evaluation.unscored),
        "videos": {
            video.video: _means(Means.over(video.targets)) | {"targets": [_target(one) for one in video.targets]}
            for video in evaluation.videos
        },
    }
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def targets_as_csv(evaluation: Evaluation) -> str:
    """One row for each expression or object."""
    rows = ({"video": video.video, **_row(one)} for video in evaluation.videos for one in video.targets)
    return _csv(rows)


def frames_as_csv(evaluation: Evaluation) -> str:
    """One row for each scored frame of an expression or object."""
    rows = (
        {"video": video.video, **_identity(one), "frame": frame, "J": j, "F": f}
        for video in evaluation.videos
        for one in video.targets
        for frame, j, f in zip(one.frames, one.j.tolist(), one.f.tolist(), strict=True)
    )
    return _csv(rows)


def videos_as_csv(evaluation: Evaluation) -> str:
    """One row for each video."""
    rows = (
        {"video": video.video, "targets": len(video.targets), **_means(Means.over(video.targets))}
        for video in evaluation.videos
    )
    return _csv(rows)


def write_files(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write scores.json, videos.csv, expressions.csv and frames.csv, all or none; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "scores.json": as_json(evaluation),
        "videos.csv": videos_as_csv(evaluation),
        "expressions.csv": targets_as_csv(evaluation),
        "frames.csv": frames_as_csv(evaluation),
    }
    with temporary_folder(folder) as unfinished:
        for name, text in texts.items():
            write_whole(unfinished / name, text.encode())
        for name in texts:
            (unfinished / name).replace(folder / name)
    return [folder / name for name in texts]


def _means(means: Means) -> dict[str, float]:
    return {"J": means.j, "F": means.f, "J&F": means.jf}


def _percent(means: Means) -> list[str]:
    return [f"{100 * value:.1f}" for value in (means.jf, means.j, means.f)]


def _identity(one: TargetScores) -> dict[str, object]:
    target = one.target
    return {
        "expression": target.expression.id,
        "object": _object(target),
        "annotator": target.annotator,
    }


def _object(target: Target) -> int | str | None:
    """The object's label, several as `0+1`; None where the annotation has no labels."""
    if target.masks is not None:
        return None
    return target.labels[0] if len(target.labels) == 1 else "+".join(map(str, target.labels))


def _row(one: TargetScores) -> dict[str, object]:
    j, f = one.j_statistics, one.f_statistics
    return (
        _identity(one)
        | {"text": one.target.expression.text, "frames": len(one.frames)}
        | {"J": j.mean, "F": f.mean, "J&F": (j.mean + f.mean) / 2}
        | _named("J", j)
        | _named("F", f)
    )


def _named(name: str, values: Statistics) -> dict[str, float]:
    return {f"{name}_recall": values.recall, f"{name}_decay": values.decay}


def _target(one: TargetScores) -> dict[str, object]:
    scores = zip(one.frames, one.j.tolist(), one.f.tolist(), strict=True)
    return _row(one) | {"frames": {frame: {"J": j, "F": f} for frame, j, f in scores}}


def _csv(rows: Iterable[Mapping[str, object]]) -> str:
    """A line with the keys, then the rows; all rows have the same keys, and there is at least one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
        writer.writerow(row.values())
    return text.getvalue()


def _list(title: str, lines: Iterable[str]) -> list[Text]:
    lines = list(lines)
    shown = [Text(f"  {line}") for line in lines[:LISTED]]
    more = [Text(f"  and {len(lines) - LISTED} more")] if len(lines) > LISTED else []
    return [Text(f"{title}: {len(lines)}"), *shown, *more] if lines else []
