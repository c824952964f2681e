"""What a recipe is for: the final run as a submission, and scores if there is ground truth.

OUT/submission.zip      the final run in the challenge's layout
OUT/scores/             scores of the final run, with every frame
OUT/ablation.json|md    what each part of the recipe adds
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mask_interchange import MaskRun
from mask_interchange.files import write_whole
from program_kit.progress import ProgressCallback
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.evaluation import Evaluation, evaluate_run
from rvos_evaluation.scoreboard import write_files

from fusion_core.errors import SubmissionError
from fusion_core.results.ablation import Row, ablation, as_markdown, scored_runs
from fusion_core.running.context import RunContext
from fusion_core.running.provenance import RECORDS
from fusion_core.submission.writer import write_submission

SUBMISSION = "submission.zip"


@dataclass(frozen=True, kw_only=True)
class Results:
    """What was written.

    Attributes:
        submission: the zip file.
        masks: how many it holds.
        scores: of the final run and of those that the ablation needs; empty without ground truth.
        ablation: rows of the table.
    """

    submission: Path
    masks: int
    scores: dict[str, Evaluation]
    ablation: tuple[Row, ...]


def result_folder(runs: Path) -> Path:
    """Where the results of a folder of runs go: beside it, and apart from those of its neighbours."""
    runs = Path(os.path.abspath(runs))  # not resolve: beside a link, not beside what it leads to
    return runs.with_name("result" if runs.name == "runs" else f"{runs.name}_result")


def check_apart(runs: Path, out: Path) -> None:
    """Check that a folder for results holds no runs, and one for runs no results; names like `result` invite that.

    Raises:
        SubmissionError: it does.
    """
    if (out / RECORDS).is_dir():
        raise SubmissionError(f"{out}: expected a folder for results, found runs; give another with --out")
    if (runs / SUBMISSION).is_file():
        raise SubmissionError(
            f"{runs}: expected a folder for runs, found the results of others; give another with --runs"
        )


def find_annotations(context: RunContext) -> Path | None:
    """The ground truth that the data set brings, if there is one."""
    return None if context.dataset.truth is None else context.dataset.truth.path


def write_results(
    context: RunContext, out: Path, annotations: Path | None, progress: ProgressCallback = lambda done, total: None
) -> Results:
    """Write the submission of a complete recipe, and score it.

    Args:
        context: what the recipe was carried out on.
        out: folder to write.
        annotations: ground truth; None for no scores.
        progress: called with videos scored and in all.

    Raises:
        SubmissionError: the final run is not complete.
        EvaluationError: the annotations do not belong to these runs.
    """
    submission = out / SUBMISSION
    masks = write_submission(MaskRun.open(context.run(context.recipe.result)), submission, context.dataset)
    scores: dict[str, Evaluation] = {}
    rows: tuple[Row, ...] = ()
    if annotations is not None:
        scores = _scores(context, annotations, progress)
        rows = ablation(context.recipe, scores)
        write_files(scores[context.recipe.result], out / "scores")
        write_whole(out / "ablation.json", (json.dumps([asdict(row) for row in rows], indent=1) + "\n").encode())
        write_whole(out / "ablation.md", as_markdown(rows).encode())
    return Results(submission=submission, masks=masks, scores=scores, ablation=rows)


def _scores(context: RunContext, annotations: Path, progress: ProgressCallback) -> dict[str, Evaluation]:
    ground_truth = open_annotations(annotations, context.dataset)
    runs = scored_runs(context.recipe)
    scores = {}
    for number, run in enumerate(runs):
        scores[run] = evaluate_run(
            MaskRun.open(context.run(run)),
            ground_truth,
            dataset=context.dataset,
            progress=lambda done, total, before=number: progress(before * total + done, len(runs) * total),
        )
    return scores
