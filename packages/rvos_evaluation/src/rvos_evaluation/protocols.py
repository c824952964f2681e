"""Which masks are compared, on which frames, and what a missing one counts: one function for each protocol.

| protocol | frames | compared | void label 255 | missing prediction |
|---|---|---|---|---|
| rvos | all annotated (or all, see `targets`) | every expression with its objects | background | scores 0 |
| mevis, long-rvos | all | as rvos, with the set's own measures (`measures`) | background | scores 0 |
| a2d, refcoco | all annotated | as rvos, with the set's own measures | background | scores 0 |
| ref-davis-mean | as rvos | as rvos | background | scores 0 |
| davis | all but the first and the last | every object with the prediction of its label | background | empty masks |
| davis-unsupervised | all annotated | every object with the prediction that matches it best | left out | empty masks |
| ref-davis | all annotated | as davis-unsupervised, once for each of four annotators | left out | empty masks |

`rvos` is how public code for Ref-YouTube-VOS and MeViS averages; the code of the official server was not published. Two
scores are published as those of Ref-DAVIS17: `ref-davis` is the one of ReferFormer, SOC and MUTR, and `ref-davis-mean`,
the plain mean over expressions, the one of VISA and its followers. The
DAVIS protocols follow `davis2017/evaluation.py` of the DAVIS 2017 evaluation toolkit: the largest label of the first
annotated frame is the number of objects, and a pixel belongs to one object only; if predictions overlap, the first one
keeps it. (The published Ref-DAVIS17 numbers give such a pixel to the largest probability, which binary masks do not
have.) A video or an annotated frame that the run does not have scores 0 under every protocol.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from mask_interchange import Expression, MaskTrack, VideoMasks

from rvos_evaluation.annotations import LabelImages, VideoAnnotation, objects_in
from rvos_evaluation.comparison import Target, TargetScores, compare
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.targets import Asked, Folders, Frames, labels_of, score_expressions

__all__ = ["Protocol"]

ANNOTATORS = 4  # Ref-DAVIS17: two people, each with a description of the first frame and one of the whole video
MAX_PROPOSALS = 20  # the most predictions that one video may have in the unsupervised DAVIS task


class Protocol(StrEnum):
    """How the scores of a run are defined; see the table above."""

    RVOS = "rvos"
    MEVIS = "mevis"
    LONG_RVOS = "long-rvos"
    A2D = "a2d"
    REFCOCO = "refcoco"
    REF_DAVIS_MEAN = "ref-davis-mean"
    DAVIS = "davis"
    DAVIS_UNSUPERVISED = "davis-unsupervised"
    REF_DAVIS = "ref-davis"


# Protocols that compare expressions, and which frames they count; None leaves it to the kind of ground truth.
FRAMES_OF_EXPRESSIONS = {
    Protocol.RVOS: None,
    Protocol.REF_DAVIS_MEAN: None,
    Protocol.MEVIS: Frames.ALL,
    Protocol.LONG_RVOS: Frames.ALL,
    Protocol.A2D: Frames.ANNOTATED,
    Protocol.REFCOCO: Frames.ANNOTATED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoScores:
    """The scores of one video.

    Attributes:
        missing: what the run lacks, in words.
        unscored: expressions of the run that were not compared, in words.
    """

    video: str
    targets: tuple[TargetScores, ...]
    missing: tuple[str, ...] = ()
    unscored: tuple[str, ...] = ()


def score_video(
    protocol: Protocol,
    annotation: VideoAnnotation,
    prediction: VideoMasks | None,
    asked: Asked | None = None,
    folders: Folders = Folders.EXPRESSIONS,
    frames: Frames | None = None,
) -> VideoScores:
    """Compare the prediction for one video with its annotation.

    Args:
        protocol: see the table at the top.
        annotation: the ground truth.
        prediction: None if the run does not have the video.
        asked: by the data set; None to ask for what annotation and run have.
        folders: what a folder of masks stands for.
        frames: which count; None for those of the protocol or else of the ground truth: all of object folders and of
            run lengths, the annotated ones of everything else.

    Raises:
        EvaluationError: sizes differ, or it is not known which object a prediction means.
    """
    if protocol in FRAMES_OF_EXPRESSIONS:
        scores = score_expressions(
            annotation, prediction, asked or Asked(), folders, frames or FRAMES_OF_EXPRESSIONS[protocol]
        )
    elif not isinstance(annotation, LabelImages):
        raise EvaluationError(
            f"video {annotation.video}: the {protocol} protocol needs label images <video>/<frame>.png, "
            f"not masks of single expressions or objects ({annotation.place}); use --protocol rvos"
        )
    elif protocol is Protocol.DAVIS:
        scores = _davis(annotation, prediction)
    elif protocol is Protocol.DAVIS_UNSUPERVISED:
        scores = _davis_unsupervised(annotation, prediction, prediction.tracks if prediction else ())
    else:
        scores = _ref_davis(annotation, prediction)
    return VideoScores(
        video=annotation.video,
        targets=tuple(scores),
        missing=_missing(annotation, prediction, scores),
        unscored=_unscored(annotation, prediction, scores),
    )


def _davis(annotation: LabelImages, prediction: VideoMasks | None) -> list[TargetScores]:
    labels = _davis_objects(annotation)
    frames = annotation.frame_names()
    if len(frames) < 3:
        raise EvaluationError(
            f"video {annotation.video}: {len(frames)} annotated frames; the davis protocol leaves out the first and "
            "the last"
        )
    tracks: dict[int, MaskTrack] = {}
    for track in prediction.tracks if prediction else ():
        meant = labels_of(track.expression, frozenset(labels), annotation)
        if len(meant) != 1:
            raise EvaluationError(
                f"video {annotation.video}, expression {track.expression.id!r}: it means {len(meant)} objects; the "
                "davis protocol takes one mask per object. Use --protocol rvos"
            )
        [label] = meant
        if label in tracks:
            raise EvaluationError(
                f"video {annotation.video}: expressions {tracks[label].expression.id!r} and {track.expression.id!r} "
                f"both mean object {label}; the davis protocol takes one mask per object. Use --protocol rvos "
                "or ref-davis"
            )
        tracks[label] = track
    targets = [
        Target(
            expression=tracks[label].expression if label in tracks else Expression(id=str(label)),
            labels=(label,),
            track=tracks.get(label),
        )
        for label in labels
    ]
    inner = (frame for frame in annotation.frames() if frame.name not in (frames[0], frames[-1]))
    return compare(annotation.video, inner, targets, prediction, one_owner=True)


def _davis_unsupervised(
    annotation: LabelImages,
    prediction: VideoMasks | None,
    proposals: Sequence[MaskTrack],
    annotator: int | None = None,
) -> list[TargetScores]:
    """Every object with the proposal that makes the sum of (mean J + mean F) / 2 over the objects largest.

    Objects come in the order of their proposals. The published code names them so; here each keeps its label.
    """
    from scipy.optimize import linear_sum_assignment

    if len(proposals) > MAX_PROPOSALS:
        raise EvaluationError(
            f"video {annotation.video}: {len(proposals)} predictions; the unsupervised DAVIS task allows "
            f"{MAX_PROPOSALS}"
        )
    labels = _davis_objects(annotation)
    candidates = [*proposals, *[None] * max(0, len(labels) - len(proposals))]
    pairs = [
        Target(expression=Expression(id=str(label)), labels=(label,), track=candidate, annotator=annotator)
        for candidate in candidates
        for label in labels
    ]
    scores = compare(annotation.video, annotation.frames(), pairs, prediction, one_owner=True, skip_void=True)
    quality = np.array([one.j.mean() + one.f.mean() for one in scores]).reshape(len(candidates), len(labels))
    rows, columns = linear_sum_assignment(quality, maximize=True)
    return [scores[row * len(labels) + column] for row, column in zip(rows, columns, strict=True)]


def _ref_davis(annotation: LabelImages, prediction: VideoMasks | None) -> list[TargetScores]:
    tracks = prediction.tracks if prediction else ()
    if len(tracks) % ANNOTATORS:
        raise EvaluationError(
            f"video {annotation.video}: {len(tracks)} expressions; Ref-DAVIS17 has {ANNOTATORS} of every object, in "
            "the order of the public conversion (expression k belongs to annotator k mod 4)"
        )
    return [
        one
        for annotator in range(ANNOTATORS)
        for one in _davis_unsupervised(annotation, prediction, tracks[annotator::ANNOTATORS], annotator)
    ]


def _davis_objects(annotation: LabelImages) -> range:
    """Labels of the objects that DAVIS scores: up to the largest one of the first annotated frame."""
    first = next(annotation.frames())
    labels = objects_in(first.labels)
    if not labels:
        raise EvaluationError(
            f"video {annotation.video}: no object on the first annotated frame {first.name}, which says how many "
            "there are"
        )
    return range(1, max(labels) + 1)


def _missing(
    annotation: VideoAnnotation, prediction: VideoMasks | None, scores: Sequence[TargetScores]
) -> tuple[str, ...]:
    video = annotation.video
    if prediction is None:
        return (f"video {video}",)
    expressions = [
        f"video {video}, expression {one.target.expression.id}" for one in scores if one.target.track is None
    ]
    scored = dict.fromkeys(name for one in scores for name in one.frames)
    predicted = set(prediction.frame_names)
    frames = [f"video {video}, frame {name}" for name in scored if name not in predicted]
    if scored and len(frames) == len(scored):
        raise EvaluationError(
            f"video {video}: the run has no annotated frame; it has {prediction.frame_names[0]!r} and others, the "
            f"annotation {next(iter(scored))!r} and others. Name them alike"
        )
    return (*expressions, *frames)


def _unscored(
    annotation: VideoAnnotation, prediction: VideoMasks | None, scores: Sequence[TargetScores]
) -> tuple[str, ...]:
    """Expressions of the run that were not compared, and how many of its frames: those are not annotated."""
    if prediction is None:
        return ()
    used = {one.target.track.expression.id for one in scores if one.target.track}
    lines = [f"video {annotation.video}, expression {id_}" for id_ in prediction.expression_ids if id_ not in used]
    annotated = annotation.frame_names() if isinstance(annotation, LabelImages) else ()
    left = set(prediction.frame_names).difference(annotated, *(one.frames for one in scores))
    if scores and left:
        lines.append(f"video {annotation.video}, {len(left)} of {len(prediction.frame_names)} frames")
    return tuple(lines)
