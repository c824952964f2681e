"""J and F of targets on the frames of one video."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from mask_interchange import Expression, MaskTrack, VideoMasks

from rvos_evaluation.annotations import VOID, LabelFrame, Labels
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.metrics import Mask, Statistics, contour_accuracy, overlap, statistics

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is scored, and the prediction for it.

    Attributes:
        expression: the expression, or an object in its place (id = label, no text).
        labels: of the objects in the annotation; none if nothing is meant.
        masks: names of the masks in the annotation whose union is meant, labelled 1; None for label images.
        track: None if the run has no prediction.
        annotator: 0 to 3 under `ref-davis`, else None.
    """

    expression: Expression
    labels: tuple[int, ...]
    masks: tuple[str, ...] | None = None
    track: MaskTrack | None
    annotator: int | None = None

    def truth(self, labels: Labels) -> Mask:
        """Where the objects are, bool [H, W], in a label image uint8 [H, W] of the annotation."""
        return labels == self.labels[0] if len(self.labels) == 1 else np.isin(labels, self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScores:
    """J and F of one target on T frames; all means are taken over these.

    Attributes:
        frames: names of the scored frames.
        j: float64 [T].
        f: float64 [T].
        intersection: int64 [T], pixels that ground truth and prediction share.
        union: int64 [T], pixels that either has.
        shown: bool [T], whether the ground truth has a pixel.
        found: bool [T], whether the prediction has one.
        confidence: float64 [T], the scores of the prediction; NaN where it has none.
    """

    target: Target
    frames: tuple[str, ...]
    j: Values
    f: Values
    intersection: npt.NDArray[np.int64]
    union: npt.NDArray[np.int64]
    shown: npt.NDArray[np.bool_]
    found: npt.NDArray[np.bool_]
    confidence: Values

    @property
    def j_statistics(self) -> Statistics:
        """Mean, recall and decay of J."""
        return statistics(self.j)

    @property
    def f_statistics(self) -> Statistics:
        """Mean, recall and decay of F."""
        return statistics(self.f)


def compare(
    video: str,
    frames: Iterable[LabelFrame],
    targets: Sequence[Target],
    prediction: VideoMasks | None,
    *,
    one_owner: bool = False,
    skip_void: bool = False,
) -> list[TargetScores]:
    """J and F of every target on every frame, in the order of `targets`.

    Args:
        one_owner: rules of DAVIS: the first of overlapping masks keeps a pixel, and a target without a track is an
            empty mask instead of a score of 0.
        skip_void: leave out pixels with the label 255.
    """
    tracks = {target.track.expression.id: target.track for target in targets if target.track}
    position = {name: t for t, name in enumerate(prediction.frame_names)} if prediction else {}
    names: list[str] = []
    rows: list[list[_Pixels]] = []
    for frame in frames:
        names.append(frame.name)
        void = frame.labels == VOID if skip_void else None
        if prediction is None or frame.name not in position:
            rows.append([_Pixels.missing(target.truth(frame.labels), void) for target in targets])
            continue
        _check_size(video, frame, prediction)
        masks: dict[str | None, Mask] = dict(_masks(tracks.values(), position[frame.name], one_owner=one_owner))
        if one_owner:
            masks[None] = np.zeros(prediction.size, dtype=bool)
        rows.append(_score_frame(frame, targets, masks, void))
    return [
        TargetScores(
            target=target,
            frames=tuple(names),
            j=np.array([row[k].j for row in rows], np.float64),
            f=np.array([row[k].f for row in rows], np.float64),
            intersection=np.array([row[k].intersection for row in rows], np.int64),
            union=np.array([row[k].union for row in rows], np.int64),
            shown=np.array([row[k].shown for row in rows], bool),
            found=np.array([row[k].found for row in rows], bool),
            confidence=_confidence(target.track, [position.get(name) for name in names]),
        )
        for k, target in enumerate(targets)
    ]


@dataclass(frozen=True, slots=True)
class _Pixels:
    """One target on one frame."""

    j: float
    f: float
    intersection: int
    union: int
    shown: bool
    found: bool

    @classmethod
    def missing(cls, truth: Mask, void: Mask | None) -> "_Pixels":
        """Nothing was predicted: J and F are 0, also where nothing is."""
        area = int(np.count_nonzero(truth if void is None else truth & ~void))
        return cls(0.0, 0.0, 0, area, area > 0, found=False)

    @classmethod
    def of(cls, truth: Mask, prediction: Mask, void: Mask | None) -> "_Pixels":
        f = contour_accuracy(truth, prediction, void)
        if void is not None:
            truth, prediction = truth & ~void, prediction & ~void
        intersection, union = overlap(truth, prediction)
        j = intersection / union if union else 1.0
        return cls(j, f, intersection, union, bool(truth.any()), bool(prediction.any()))


def _confidence(track: MaskTrack | None, positions: Sequence[int | None]) -> Values:
    if track is None or track.scores is None:
        return np.full(len(positions), np.nan)
    return np.array([np.nan if t is None else track.scores[t] for t in positions], np.float64)


def _score_frame(
    frame: LabelFrame, targets: Sequence[Target], masks: Mapping[str | None, Mask], void: Mask | None
) -> list[_Pixels]:
    known: dict[tuple[tuple[int, ...], int], _Pixels] = {}
    scores = []
    for target in targets:
        prediction = masks.get(target.track.expression.id if target.track else None)
        if prediction is None:
            scores.append(_Pixels.missing(target.truth(frame.labels), void))
            continue
        pair = target.labels, id(prediction)
        if pair not in known:
            known[pair] = _Pixels.of(target.truth(frame.labels), prediction, void)
        scores.append(known[pair])
    return scores


def _masks(tracks: Iterable[MaskTrack], t: int, *, one_owner: bool) -> Iterable[tuple[str, Mask]]:
    """Masks of frame `t` by expression. Equal masks are one array, so that they are decoded and scored once."""
    decoded: dict[bytes, Mask] = {}
    taken: Mask | None = None
    for track in tracks:
        counts = track.masks[t]
        if counts not in decoded:
            decoded[counts] = _by_rows(track.mask(t))
        mask = decoded[counts]
        if one_owner:
            mask = mask if taken is None else mask & ~taken
            taken = mask if taken is None else mask | taken
        yield track.expression.id, mask


def _by_rows(mask: Mask) -> Mask:
    """The mask with contiguous rows, like labels. Run lengths decode column by column, and numpy transposes slowly."""
    return cv2.transpose(mask.T.view(np.uint8)).view(np.bool_)


def _check_size(video: str, frame: LabelFrame, prediction: VideoMasks) -> None:
    if frame.labels.shape != prediction.size:
        raise EvaluationError(
            f"video {video}, frame {frame.name}: the annotation is {frame.labels.shape[0]}x{frame.labels.shape[1]}, "
            f"the prediction {prediction.size[0]}x{prediction.size[1]} (height x width); predict at the annotation's "
            "size, scores of resized masks are other scores"
        )
