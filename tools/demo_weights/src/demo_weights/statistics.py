"""What is told of a run's scores beside their mean: the spread over videos, kinds of sentences, worth of scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rvos_evaluation.comparison import TargetScores
from rvos_evaluation.evaluation import Evaluation, Means
from rvos_synthetic.grammar import WORDS
from scipy.stats import rankdata

from demo_weights.scene_facts import plan_of

RESAMPLED, SEED = 10_000, 0
INTERVAL = (2.5, 97.5)  # percent
KINDS = tuple(WORDS)


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and where 95 of 100 samples of as many videos have it, in percent."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1f} ({self.low:.1f} to {self.high:.1f})"


def jf_of_targets(evaluation: Evaluation) -> list[NDArray[np.float64]]:
    """J&F of the targets of every video, in percent."""
    return [np.array([100 * Means.over([one]).jf for one in video.targets]) for video in evaluation.videos]


def interval(videos: Sequence[NDArray[np.float64]]) -> Interval:
    """The mean over all values, and its bootstrap interval: videos are sampled with replacement, with all they have."""
    sums, counts = np.array([one.sum() for one in videos]), np.array([len(one) for one in videos])
    sampled = np.random.default_rng(SEED).integers(len(videos), size=(RESAMPLED, len(videos)))
    means = sums[sampled].sum(1) / counts[sampled].sum(1)
    low, high = np.percentile(means, INTERVAL)
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def gain(before: Evaluation, after: Evaluation) -> Interval:
    """How much higher J&F is, target by target."""
    pairs = zip(jf_of_targets(before), jf_of_targets(after), strict=True)
    return interval([second - first for first, second in pairs])


def by_kind(evaluation: Evaluation) -> dict[str, float]:
    """Mean J&F, in percent, of the expressions that say something of each attribute."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for video in evaluation.videos:
        expressions = plan_of(video.video)[1]
        for target in video.targets:
            for kind in expressions[int(target.target.expression.id)].claims:
                found[kind].append(100 * Means.over([target]).jf)
    return {kind: float(np.mean(values)) for kind, values in found.items() if values}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What the scores of a run are worth.

    Attributes:
        correlation: Spearman's, of score and J over the frames of a track, mean over tracks where both vary; None
            where none does.
        overall: the same over all frames of all tracks.
        key_frame: mean J at key frames, in percent.
        any_frame: mean J of all frames.
        best_frame: mean over tracks of the highest J.
    """

    correlation: float | None
    overall: float | None
    key_frame: float
    any_frame: float
    best_frame: float


def worth_of_scores(evaluation: Evaluation) -> Scores:
    """Compare scores and J over the frames of all expressions, whose key frames must be known."""
    targets = [one for one in evaluation.targets if one.target.track is not None]
    inside = [spearman(one.confidence, one.j) for one in targets]
    known = [value for value in inside if value is not None]
    return Scores(
        correlation=float(np.mean(known)) if known else None,
        overall=spearman(
            np.concatenate([one.confidence for one in targets]), np.concatenate([one.j for one in targets])
        ),
        key_frame=100 * float(np.mean([one.j[_key_frame(one)] for one in targets])),
        any_frame=100 * float(np.mean([one.j.mean() for one in targets])),
        best_frame=100 * float(np.mean([one.j.max() for one in targets])),
    )


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Spearman's correlation; None where one of them does not vary or is not known."""
    ranks = [rankdata(values) for values in (one, other)]
    if np.isnan(one).any() or any(np.ptp(values) == 0 for values in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _key_frame(target: TargetScores) -> int:
    assert target.target.track is not None
    assert target.target.track.key_frame is not None
    return target.target.track.key_frame
