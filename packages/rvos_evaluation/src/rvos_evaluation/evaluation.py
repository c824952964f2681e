"""A whole run against annotations: scores of every video and their means.

Under every protocol the overall score is the unweighted mean over all targets of all videos. (Targets are expressions;
under the DAVIS protocols, objects.) A video counts as often as it has targets; all frames of a target count the same.
J&F is the mean of mean J and mean F.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from statistics import fmean

from mask_interchange import Dataset, Expression, MaskRun

from rvos_evaluation.annotations import VideoAnnotation
from rvos_evaluation.comparison import TargetScores
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.measures import measures
from rvos_evaluation.protocols import FRAMES_OF_EXPRESSIONS, Protocol, VideoScores, score_video
from rvos_evaluation.targets import Asked, Folders, Frames, folders_of
from rvos_evaluation.threads import in_threads

__all__ = ["Evaluation", "Means", "evaluate_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Mean J and F over some targets, in [0, 1]."""

    j: float
    f: float

    @property
    def jf(self) -> float:
        """J&F."""
        return (self.j + self.f) / 2

    @classmethod
    def over(cls, targets: Iterable[TargetScores]) -> "Means":
        """Unweighted mean over targets of their means over frames."""
        rows = [(float(one.j.mean()), float(one.f.mean())) for one in targets]
        return cls(j=fmean(j for j, _ in rows), f=fmean(f for _, f in rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The scores of a run.

    Attributes:
        run: its name.
        protocol: what was compared.
        videos: scores of every annotated video with anything to score, in the order of the annotations.
        unscored: what is in the run and not in the annotations, in words.
    """

    run: str
    protocol: Protocol
    videos: tuple[VideoScores, ...]
    unscored: tuple[str, ...] = ()

    @property
    def targets(self) -> list[TargetScores]:
        """Everything that is averaged, video by video."""
        return [target for video in self.videos for target in video.targets]

    @property
    def overall(self) -> Means:
        """Over all targets of all videos."""
        return Means.over(self.targets)

    @property
    def annotators(self) -> list[Means]:
        """Under `ref-davis`, the means of each annotator's set; else empty. The overall score is their mean."""
        tagged = [(one.target.annotator, one) for one in self.targets if one.target.annotator is not None]
        ordered = sorted(tagged, key=lambda pair: pair[0])
        return [Means.over(one for _, one in group) for _, group in groupby(ordered, key=lambda pair: pair[0])]

    @property
    def measures(self) -> dict[str, float]:
        """What the protocol measures beside J and F, by name, in [0, 1]."""
        return measures(self.protocol, self.targets)

    @property
    def missing(self) -> list[str]:
        """What the run lacks, in words; it counts as 0 or as empty masks."""
        return [line for video in self.videos for line in video.missing]


def evaluate_run(
    run: MaskRun,
    annotations: Mapping[str, VideoAnnotation],
    protocol: Protocol = Protocol.RVOS,
    dataset: Dataset | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    folders: Folders | None = None,
    frames: Frames | None = None,
) -> Evaluation:
    """Score a run.

    Args:
        run: what was predicted; videos that are missing score 0.
        annotations: the ground truth, from `open_annotations`.
        protocol: what is compared with what.
        dataset: if given, only its videos count, and all its expressions are required.
        progress: called with videos done and in all.
        folders: what a folder of masks stands for; None to tell by their names.
        frames: which count; None for those that the kind of annotation implies (`protocols.score_video`).

    Raises:
        EvaluationError: run and annotations do not match; names the video.
        DatasetError: the data set's entry of a video is faulty.
    """
    videos = [name for name in annotations if dataset is None or name in dataset.videos]
    predicted = run.videos()
    if not set(videos) & set(predicted):
        raise EvaluationError(
            f"none of the {len(videos)} annotated videos ({_some(videos)}) is in {run.path}, which has "
            f"{_some(predicted)}; are these annotations of another data set, or the folder above them?"
        )

    if folders is None and protocol in FRAMES_OF_EXPRESSIONS:
        folders = folders_of((annotations[name] for name in videos), partial(_expressions, run, dataset))

    def score(name: str) -> VideoScores:
        masks = run.read(name) if run.has(name) else None
        asked = Asked.of(dataset, name) if dataset else None
        return score_video(protocol, annotations[name], masks, asked, folders or Folders.EXPRESSIONS, frames)

    scored: dict[str, VideoScores] = {}
    for done, one in enumerate(in_threads(score, videos), start=1):
        if one.targets:
            scored[one.video] = one
        progress(done, len(videos))
    if not scored:
        raise EvaluationError(
            f"{run.path}: no expression and no object to score in the annotated videos {_some(videos)}"
        )
    extra = [f"video {name}" for name in predicted if name not in scored]
    return Evaluation(
        run=run.name,
        protocol=protocol,
        videos=tuple(scored.values()),
        unscored=(*extra, *(line for video in scored.values() for line in video.unscored)),
    )


def _expressions(run: MaskRun, dataset: Dataset | None, video: str) -> Sequence[Expression]:
    if dataset is not None:
        return dataset.videos[video].expressions
    return [track.expression for track in run.read(video).tracks] if run.has(video) else []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "no videos"
