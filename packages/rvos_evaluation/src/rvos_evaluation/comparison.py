"""J and F of targets on the frames of one video."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from mask_interchange import Expression, MaskTrack, VideoMasks

from rvos_evaluation.annotations import VOID, LabelFrame
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.metrics import Mask, Statistics, contour_accuracy, region_similarity, statistics

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is scored, and the prediction for it.

    Attributes:
        expression: the expression, or an object in its place (id = label, no text).
        label: the object's label in the annotation.
        folder: the expression's folder of the annotation; None for label images of all objects.
        track: None if the run has no prediction.
        annotator: 0 to 3 under `ref-davis`, else None.
    """

    expression: Expression
    label: int
    folder: str | None = None
    track: MaskTrack | None
    annotator: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScores:
    """J and F of one target on T frames; all means are taken over these.

    Attributes:
        frames: names of the scored frames.
        j: float64 [T].
        f: float64 [T].
    """

    target: Target
    frames: tuple[str, ...]
    j: Values
    f: Values

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
    values: list[list[tuple[float, float]]] = []
    for frame in frames:
        names.append(frame.name)
        if prediction is None or frame.name not in position:
            values.append([(0.0, 0.0)] * len(targets))
            continue
        _check_size(video, frame, prediction)
        masks: dict[str | None, Mask] = dict(_masks(tracks.values(), position[frame.name], one_owner=one_owner))
        if one_owner:
            masks[None] = np.zeros(prediction.size, dtype=bool)
        void = frame.labels == VOID if skip_void else None
        values.append(_score_frame(frame, targets, masks, void))
    scores = np.array(values).reshape(len(names), len(targets), 2)
    return [
        TargetScores(target=target, frames=tuple(names), j=scores[:, k, 0], f=scores[:, k, 1])
        for k, target in enumerate(targets)
    ]


def _score_frame(
    frame: LabelFrame, targets: Sequence[Target], masks: Mapping[str | None, Mask], void: Mask | None
) -> list[tuple[float, float]]:
    known: dict[tuple[int, int], tuple[float, float]] = {}
    scores = []
    for target in targets:
        prediction = masks.get(target.track.expression.id if target.track else None)
        if prediction is None:
            scores.append((0.0, 0.0))
            continue
        pair = target.label, id(prediction)
        if pair not in known:
            truth = frame.labels == target.label
            known[pair] = region_similarity(truth, prediction, void), contour_accuracy(truth, prediction, void)
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
