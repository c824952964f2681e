"""What data sets measure beside J and F, from the pixels that were counted for these.

| protocol | measures |
|---|---|
| mevis | where some expressions mean nothing: N-acc, T-acc and Final, the mean of J&F, N-acc and T-acc |
| long-rvos | tIoU and vIoU |
| a2d | P@0.5 to P@0.9, overall IoU, mean IoU, and mAP where predictions have scores |
| refcoco | gIoU, cIoU, P@0.5 to P@0.9; where some expressions mean nothing, also N-acc and T-acc |

A sample of `a2d` and `refcoco` is an expression on an annotated frame. Sources: `refer_evaluation.py` of ReLA (gIoU,
cIoU, N-acc, T-acc; precision over expressions that mean something, with >=), `metrics.py` of MTTR (precision with >),
the evaluator of Long-RVOS. The server of MeViS v2 was not published: its N-acc and T-acc are taken to be those of ReLA
over whole videos, and its Final is the mean, which published tables confirm.
"""

import operator
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from rvos_evaluation.comparison import TargetScores
from rvos_evaluation.protocols import Protocol

PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9)
AP_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AP_RECALLS = np.linspace(0, 1, 101)


def measures(protocol: Protocol, targets: Sequence[TargetScores]) -> dict[str, float]:
    """The measures of a protocol over all targets, by name, in [0, 1]; see the table above."""
    if protocol is Protocol.MEVIS:
        return _mevis(targets)
    if protocol is Protocol.LONG_RVOS:
        return _long_rvos(targets)
    if protocol is Protocol.A2D:
        return _a2d(targets)
    return _refcoco(targets) if protocol is Protocol.REFCOCO else {}


def _mevis(targets: Sequence[TargetScores]) -> dict[str, float]:
    answers = _answers(
        [one.shown.any() for one in targets],
        [one.found.any() for one in targets],
        [one.target.track is not None for one in targets],
    )
    if not answers:
        return {}
    jf = float(np.mean([(one.j.mean() + one.f.mean()) / 2 for one in targets]))
    return answers | {"Final": (jf + sum(answers.values())) / 3}


def _long_rvos(targets: Sequence[TargetScores]) -> dict[str, float]:
    """tIoU: frames where both show something over those where either does. vIoU: J of the former over the latter."""
    temporal, volume = [], []
    for one in targets:
        both, either = one.shown & one.found, np.count_nonzero(one.shown | one.found)
        temporal.append(np.count_nonzero(both) / either if either else 1.0)
        volume.append(float(one.j[both].sum()) / either if either else 1.0)
    return {"tIoU": float(np.mean(temporal)), "vIoU": float(np.mean(volume))}


def _a2d(targets: Sequence[TargetScores]) -> dict[str, float]:
    iou = np.concatenate([one.j for one in targets])
    confidence = np.concatenate([one.confidence for one in targets])
    predicted = _predicted(targets)
    found = _precisions(iou, operator.gt) | {"overall IoU": _summed(targets), "mean IoU": float(iou.mean())}
    if not np.isnan(confidence[predicted]).any():
        found["mAP"] = average_precision(iou[predicted], confidence[predicted], len(iou))
    return found


def _refcoco(targets: Sequence[TargetScores]) -> dict[str, float]:
    iou = np.concatenate([one.j for one in targets])
    shown = np.concatenate([one.shown for one in targets])
    found = np.concatenate([one.found for one in targets])
    measured = {"gIoU": float(iou.mean()), "cIoU": _summed(targets)}
    return measured | _precisions(iou[shown], operator.ge) | _answers(shown, found, _predicted(targets))


def _predicted(targets: Sequence[TargetScores]) -> npt.NDArray[np.bool_]:
    """Whether there is a prediction for each sample."""
    return np.concatenate([np.full(len(one.j), one.target.track is not None) for one in targets])


def _summed(targets: Sequence[TargetScores]) -> float:
    """All pixels of the intersections over all pixels of the unions; 1 if there are none."""
    union = sum(int(one.union.sum()) for one in targets)
    return sum(int(one.intersection.sum()) for one in targets) / union if union else 1.0


def _precisions(iou: npt.NDArray[np.float64], passes: Callable[..., npt.NDArray[np.bool_]]) -> dict[str, float]:
    return {f"P@{one}": float(np.mean(passes(iou, one))) for one in PRECISIONS} if len(iou) else {}


def _answers(shown: npt.ArrayLike, found: npt.ArrayLike, predicted: npt.ArrayLike) -> dict[str, float]:
    """N-acc: how often nothing was found where nothing is. T-acc: how often something was found where something is.

    Without a prediction nothing was looked for, which is a wrong answer. No measures where all or none are there.
    """
    there, something = np.asarray(shown, bool), np.asarray(found, bool)
    nothing = np.asarray(predicted, bool) & ~something
    if there.all() or not there.any():
        return {}
    return {"N-acc": float(np.mean(nothing[~there])), "T-acc": float(np.mean(something[there]))}


def average_precision(iou: npt.NDArray[np.float64], confidence: npt.NDArray[np.float64], samples: int) -> float:
    """COCO's mean average precision over IoU 0.5 to 0.95, for one prediction and one object in each sample.

    Args:
        iou: float64 [N], of each prediction with the object of its sample.
        confidence: float64 [N].
        samples: how many there are, with or without a prediction.
    """
    order = np.argsort(-confidence, kind="stable")
    precisions = []
    for threshold in AP_THRESHOLDS:
        right = np.cumsum(iou[order] >= threshold)
        recall, precision = right / samples, right / np.arange(1, len(right) + 1)
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        precisions.append(best[np.searchsorted(recall, AP_RECALLS, side="left")].mean())
    return float(np.mean(precisions))
