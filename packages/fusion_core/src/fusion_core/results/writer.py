"""What a recipe is for: the final run as a submission, and scores where there are true masks.

OUT/submission.zip      the final run in the challenge's layout
OUT/scores/             scores of the final run, down to single frames
OUT/ablation.json|md    what each part of the recipe adds
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mask_interchange import MaskRun
from mask_interchange.files import write_whole
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.evaluation import Evaluation, evaluate_run
from rvos_evaluation.scoreboard import write_files

from fusion_core.results.ablation import Row, ablation, as_markdown, scored_runs
from fusion_core.running.context import DatasetSource, Place
from fusion_core.submission.writer import write_submission

Report = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Results:
    """What was written.

    Attributes:
        submission: the zip file.
        masks: how many it holds.
        scores: of the final run and of those that the ablation needs; empty without true masks.
        ablation: rows of the table.
    """

    submission: Path
    masks: int
    scores: dict[str, Evaluation]
    ablation: tuple[Row, ...]


def find_annotations(place: Place) -> Path | None:
    """The folder of true masks that stands beside a data set's frames, if there is one."""
    if not isinstance(place.source, DatasetSource):
        return None
    split = place.dataset.split
    folder = (place.source.root / split if split else place.source.root) / "Annotations"
    return folder if folder.is_dir() else None


def write_results(
    place: Place, out: Path, annotations: Path | None, report: Report = lambda done, total: None
) -> Results:
    """Write the submission of a complete recipe, and score it.

    Args:
        place: what the recipe was carried out on.
        out: folder to write.
        annotations: true masks; None leaves the scores out.
        report: called with videos scored and in all.

    Raises:
        SubmissionError: the final run lacks something.
        EvaluationError: the annotations do not belong to these runs.
    """
    submission = out / "submission.zip"
    masks = write_submission(MaskRun.open(place.run(place.recipe.result)), submission, place.dataset)
    scores: dict[str, Evaluation] = {}
    rows: tuple[Row, ...] = ()
    if annotations is not None:
        scores = _scores(place, annotations, report)
        rows = ablation(place.recipe, scores)
        write_files(scores[place.recipe.result], out / "scores")
        write_whole(out / "ablation.json", (json.dumps([asdict(row) for row in rows], indent=1) + "\n").encode())
        write_whole(out / "ablation.md", as_markdown(rows).encode())
    return Results(submission=submission, masks=masks, scores=scores, ablation=rows)


def _scores(place: Place, annotations: Path, report: Report) -> dict[str, Evaluation]:
    true = open_annotations(annotations)
    runs = scored_runs(place.recipe)
    scores = {}
    for number, run in enumerate(runs):
        scores[run] = evaluate_run(
            MaskRun.open(place.run(run)),
            true,
            dataset=place.dataset,
            report=lambda done, total, before=number: report(before * total + done, len(runs) * total),
        )
    return scores
