"""What a run is compared with: which masks of the ground truth each expression means, and on which frames.

A folder of masks may stand for an expression (Ref-YouTube-VOS of 2026) or for an object (Long-RVOS). Both look alike,
so their names decide, over all videos: those of the expressions, or those of the objects that expressions mean.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

import numpy as np
from mask_interchange import Dataset, Expression, MaskTrack, Size, VideoMasks, natural_key
from mask_interchange.ground_truth import Targets

from rvos_evaluation.annotations import LabelFrame, LabelImages, MaskFolders, MaskLists, VideoAnnotation
from rvos_evaluation.comparison import Target, TargetScores, compare
from rvos_evaluation.errors import EvaluationError


class Folders(StrEnum):
    """What a folder of masks stands for."""

    EXPRESSIONS = "expressions"
    OBJECTS = "objects"


class Frames(StrEnum):
    """Which frames count: those with a file of ground truth, or all, where a frame without one shows nothing."""

    ANNOTATED = "annotated"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a data set asks for in a video.

    Attributes:
        expressions: all that there are; None where no data set is given.
        means: names of the masks of each expression, where the data set says so.
        frame_names: all that there are; None where no data set is given.
    """

    expressions: Sequence[Expression] | None = None
    means: Targets = field(default_factory=dict)
    frame_names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, dataset: Dataset, name: str) -> "Asked":
        """Raises DatasetError: the video's entry is faulty."""
        video = dataset.videos[name]
        means = dataset.truth.targets.get(name, {}) if dataset.truth else {}
        return cls(expressions=video.expressions, means=means, frame_names=video.frame_names)

    def names_of(self, expression: Expression) -> tuple[str, ...] | None:
        """Objects or masks that an expression means; none if nothing is meant, None if nobody says."""
        group = None if expression.group is None else tuple(expression.group.split("+"))
        return self.means.get(expression.id, group)


def folders_of(
    annotations: Iterable[VideoAnnotation], expressions_of: Callable[[str], Sequence[Expression]]
) -> Folders | None:
    """What folders of masks stand for; None if there are none.

    Raises:
        EvaluationError: it is not certain; says in which video.
    """
    unclear: MaskFolders | None = None
    found: dict[Folders, str] = {}
    for one in annotations:
        if isinstance(one, MaskFolders):
            meaning = _meaning(set(one.folders), expressions_of(one.video))
            unclear = unclear or (one if meaning is None else None)
            if meaning is not None:
                found.setdefault(meaning, one.video)
    if len(found) > 1:
        videos = " and ".join(f"{meaning} in video {video}" for meaning, video in found.items())
        raise EvaluationError(f"folders of masks look like {videos}; say what they stand for with --folders")
    if not found and unclear is not None:
        raise EvaluationError(
            f"video {unclear.video}: the folders {', '.join(unclear.folders[:5])} of {unclear.place} may be "
            "expressions or objects; say which with --folders expressions or --folders objects"
        )
    return next(iter(found), None)


def _meaning(names: set[str], expressions: Sequence[Expression]) -> Folders | None:
    ids = {expression.id for expression in expressions}
    objects = {one for expression in expressions for one in (expression.group or "").split("+")} - {""}
    if not objects or all(expression.group == expression.id for expression in expressions):
        return Folders.EXPRESSIONS
    if (names == ids) != (names == objects):
        return Folders.EXPRESSIONS if names == ids else Folders.OBJECTS
    if (names <= ids) != (names <= objects):
        return Folders.EXPRESSIONS if names <= ids else Folders.OBJECTS
    return None


def score_expressions(
    annotation: VideoAnnotation,
    prediction: VideoMasks | None,
    asked: Asked,
    folders: Folders = Folders.EXPRESSIONS,
    frames: Frames | None = None,
) -> list[TargetScores]:
    """J and F of every expression with what it means; arguments as in `protocols.score_video`."""
    targets = targets_of(annotation, prediction, asked, folders)
    every = _all_frames(annotation, prediction, asked, folders, frames)
    scores = []
    for masks, group in groupby(targets, key=lambda target: target.masks):
        read = annotation.frames(masks)
        names = _frames_of_nothing(annotation) if every is None and masks == () else every
        if names is not None:
            read = _with_empty(read, names, prediction.size if prediction else None)
        scores += compare(annotation.video, read, list(group), prediction)
    return scores


def targets_of(
    annotation: VideoAnnotation, prediction: VideoMasks | None, asked: Asked, folders: Folders
) -> list[Target]:
    """Every expression that is asked for, with its masks in the annotation and in the prediction.

    Raises:
        EvaluationError: it is not known what an expression means, or the annotation does not show it.
    """
    tracks = {track.expression.id: track for track in prediction.tracks} if prediction else {}
    if isinstance(annotation, LabelImages):
        return _in_label_images(annotation, tracks, asked)
    if isinstance(annotation, MaskFolders) and folders is Folders.EXPRESSIONS:
        return _in_expression_folders(annotation, tracks, asked)
    assert isinstance(annotation, MaskFolders | MaskLists)
    return _in_named_masks(annotation, tracks, asked)


# --- which masks ------------------------------------------------------------------------------------------------------


def _in_label_images(annotation: LabelImages, tracks: Mapping[str, MaskTrack], asked: Asked) -> list[Target]:
    """The expressions of the data set, or else of the run; if these have no texts, also objects without a mask."""
    objects = annotation.object_labels()
    wanted = [track.expression for track in tracks.values()] if asked.expressions is None else asked.expressions
    targets = [
        Target(expression=one, labels=labels_of(one, objects, annotation, asked), track=tracks.get(one.id))
        for one in wanted
    ]
    if asked.expressions is None and all(expression.text is None for expression in wanted):
        uncovered = objects.difference(*(target.labels for target in targets))
        targets += [
            Target(expression=Expression(id=str(label)), labels=(label,), track=None) for label in sorted(uncovered)
        ]
    return targets


def labels_of(
    expression: Expression, objects: frozenset[int], annotation: LabelImages, asked: Asked | None = None
) -> tuple[int, ...]:
    """The labels of the objects that an expression means, among those of the video's annotation.

    Raises:
        EvaluationError: nobody says what it means, or it means an object that the annotation does not show.
    """
    names = (asked or Asked()).names_of(expression)
    if names is None and objects <= {1}:
        return (1,)
    if names is None and expression.text is None:
        names = (expression.id,)
    where = f"video {annotation.video}, expression {expression.id!r}"
    if names is None:
        raise EvaluationError(
            f"{where}: {annotation.place} shows the objects {sorted(objects)} and nothing says which one is meant; "
            "give the data set with obj_id (--dataset), or annotations in one folder for each expression"
        )
    for name in names:
        if not name.isdecimal() or int(name) not in objects:
            raise EvaluationError(
                f"{where}: it means object {name!r}, but {annotation.place} shows the objects {sorted(objects)}"
            )
    return tuple(int(name) for name in names)


def _in_expression_folders(annotation: MaskFolders, tracks: Mapping[str, MaskTrack], asked: Asked) -> list[Target]:
    """Every annotated expression of the data set."""
    annotated = annotation.folders
    wanted = [Expression(id=id_) for id_ in annotated] if asked.expressions is None else asked.expressions
    known = {e.id: e for e in wanted} | {id_: track.expression for id_, track in tracks.items()}
    ids = {expression.id for expression in wanted}
    return [
        Target(expression=known[id_], labels=(1,), masks=(id_,), track=tracks.get(id_))
        for id_ in annotated
        if id_ in ids
    ]


def _in_named_masks(annotation: MaskFolders | MaskLists, tracks: Mapping[str, MaskTrack], asked: Asked) -> list[Target]:
    """Every expression of the data set, or else of the run, with the masks of its objects."""
    wanted = [track.expression for track in tracks.values()] if asked.expressions is None else asked.expressions
    held = set(annotation.folders if isinstance(annotation, MaskFolders) else annotation.lists)
    targets = []
    for expression in wanted:
        masks = asked.names_of(expression)
        where = f"video {annotation.video}, expression {expression.id!r}"
        if masks is None:
            raise EvaluationError(f"{where}: nothing says which object it means; give the data set (--dataset)")
        if absent := [name for name in masks if name not in held]:
            raise EvaluationError(f"{where}: it means {absent[0]!r}, of which {annotation.place} holds no masks")
        targets.append(Target(expression=expression, labels=(1,), masks=masks, track=tracks.get(expression.id)))
    return targets


# --- which frames -----------------------------------------------------------------------------------------------------


def _all_frames(
    annotation: VideoAnnotation,
    prediction: VideoMasks | None,
    asked: Asked,
    folders: Folders,
    frames: Frames | None,
) -> tuple[str, ...] | None:
    """Names of all frames where frames without ground truth count as empty ones; None where they do not count."""
    if isinstance(annotation, MaskLists):
        return annotation.all_frames
    if frames is None:
        objects = isinstance(annotation, MaskFolders) and folders is Folders.OBJECTS
        if not objects:
            _check_alike(annotation)
            return None
    elif frames is Frames.ANNOTATED:
        return None
    if asked.frame_names is not None:
        return asked.frame_names
    return prediction.frame_names if prediction else ()


def _frames_of_nothing(annotation: VideoAnnotation) -> tuple[str, ...]:
    """The annotated frames of a video for an expression that means nothing in it."""
    return annotation.frame_names(annotation.folders if isinstance(annotation, MaskFolders) else None)


def _check_alike(annotation: VideoAnnotation) -> None:
    """Folders of one video with different frames: whether a frame that lacks is empty or unknown must be said."""
    if not isinstance(annotation, MaskFolders):
        return
    first, *others = annotation.folders
    expected = annotation.frame_names((first,))
    for other in others:
        if (found := annotation.frame_names((other,))) != expected:
            raise EvaluationError(
                f"video {annotation.video}: {annotation.place / first} has {len(expected)} frames, {other} has others "
                f"({len(found)}). Is a frame without a file one that shows nothing? Then give --frames all; "
                "--frames annotated leaves it out"
            )


def _with_empty(annotated: Iterator[LabelFrame], names: Sequence[str], size: Size | None) -> Iterator[LabelFrame]:
    """All frames in natural order; those that are not annotated show nothing."""
    upcoming = next(annotated, None)
    # Where there is neither ground truth nor a prediction, no size is needed.
    shape = upcoming.labels.shape if upcoming else size or (1, 1)
    for name in sorted(names, key=natural_key):
        while upcoming is not None and natural_key(upcoming.name) < natural_key(name):
            yield upcoming
            upcoming = next(annotated, None)
        if upcoming is not None and upcoming.name == name:
            yield upcoming
            upcoming = next(annotated, None)
        else:
            yield LabelFrame(name=name, labels=np.zeros(shape, np.uint8))
    while upcoming is not None:
        yield upcoming
        upcoming = next(annotated, None)
