"""What the page shows of one video: the masks of every run, the votes, the ground truth, and the disagreement."""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from mask_interchange import (
    Expression,
    MaskInterchangeError,
    MaskRun,
    MaskTrack,
    RunLengths,
    Video,
    VideoMasks,
    encode_mask,
    encode_runs,
)
from mask_interchange.overlap import Values
from mask_interchange.rle import decode_runs
from rvos_evaluation.annotations import VideoAnnotation
from rvos_evaluation.comparison import Target
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.evaluation import Evaluation

from fusion_core.errors import FusionCoreError
from fusion_core.recipe.nodes import Node, Vote
from fusion_core.rendering.alignment import matching
from fusion_core.report.disagreement import disagreement
from fusion_core.report.thumbnails import small_frame, small_masks, small_size
from fusion_core.voting.fuse import aligned
from fusion_core.voting.fused_run import recorded_vote
from fusion_core.voting.pairing import pools


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How the masks of one expression were voted.

    Attributes:
        voters: every mask that was counted, as its run and the position of its expression.
        needed: votes that made a pixel foreground.
    """

    voters: tuple[tuple[str, int], ...]
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruth:
    """Ground truth of one expression: the numbers of the annotated frames, and their masks in that order."""

    frames: tuple[int, ...]
    runs: RunLengths


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoContent:
    """One video, at full size. What has a value for each expression is in the order of `video.expressions`.

    Attributes:
        tracks: by run, the track of each expression; None where the run has none.
        counts: by vote that counts masks, how each expression was voted; None if that is not known.
        truth: of each expression; empty when there are no annotations.
        disagreement: float64 [T] of each expression; None if nothing was voted.
        problems: what could not be shown, in words.
    """

    video: Video
    tracks: Mapping[str, tuple[MaskTrack | None, ...]]
    counts: Mapping[str, tuple[Count | None, ...]]
    truth: tuple[GroundTruth | None, ...]
    disagreement: tuple[Values | None, ...]
    problems: tuple[str, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """What the video was segmented for."""
        return self.video.expressions


@dataclass(slots=True, kw_only=True)
class Gatherer:
    """Reads one video after another.

    Attributes:
        nodes: of the recipe.
        runs: those that exist, by name.
        annotations: by video; empty when there are none.
        evaluations: by run; empty when there are no annotations.
    """

    nodes: Sequence[Node]
    runs: Mapping[str, MaskRun]
    annotations: Mapping[str, VideoAnnotation] = field(default_factory=dict)
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)

    def gather(self, video: Video) -> VideoContent:
        """Everything about one video. Runs that do not match it are left out and named in the problems.

        A video without expressions gets those of the first run.

        Raises:
            DatasetError: the video itself cannot be read.
        """
        problems: list[str] = []
        read: dict[str, VideoMasks] = {}
        for name, run in self.runs.items():
            if run.has(video.id):
                try:
                    read[name] = matching(run.read(video.id), video, name)
                except (MaskInterchangeError, FusionCoreError) as error:
                    problems.append(f"video {video.id}: left out: {error}")
        if not video.expressions:
            video = replace(video, expressions=next((_expressions(masks) for masks in read.values()), ()))
        by_id = {name: {track.expression.id: track for track in masks.tracks} for name, masks in read.items()}
        tracks = {name: tuple(by_id[name].get(expression.id) for expression in video.expressions) for name in read}
        votes = [node for node in self.nodes if isinstance(node, Vote) and node.name in read]
        counts: dict[str, tuple[Count | None, ...]] = {}
        for node in votes:
            vote = recorded_vote(self.runs[node.name]) or node
            if vote.rule == "count" and all(member in read for member in vote.members):
                try:
                    counts[node.name] = vote_counts(vote, read, video.expressions)
                except FusionCoreError as error:
                    problems.append(str(error))
        return VideoContent(
            video=video,
            tracks=tracks,
            counts=counts,
            truth=tuple(self._truth(video, expression, problems) for expression in video.expressions),
            disagreement=tuple(
                disagreement(_comparisons(votes, tracks, index)) for index in range(len(video.expressions))
            ),
            problems=tuple(problems),
        )

    def _truth(self, video: Video, expression: Expression, problems: list[str]) -> GroundTruth | None:
        target = self._target(video.id, expression.id)
        annotation = self.annotations.get(video.id)
        if target is None or annotation is None:
            return None
        numbers = {name: t for t, name in enumerate(video.frame_names)}
        frames, masks = [], []
        try:
            for frame in annotation.frames(target.masks):
                if frame.name in numbers and frame.labels.shape == video.size:
                    frames.append(numbers[frame.name])
                    masks.append(encode_mask(target.truth(frame.labels)))
        except EvaluationError as error:
            problems.append(str(error))
        return GroundTruth(frames=tuple(frames), runs=decode_runs(masks)) if masks else None

    def _target(self, video: str, expression: str) -> Target | None:
        scored = (one.targets for run in self.evaluations.values() for one in run.videos if one.video == video)
        return next(
            (one.target for targets in scored for one in targets if one.target.expression.id == expression), None
        )


def _expressions(masks: VideoMasks) -> tuple[Expression, ...]:
    return tuple(track.expression for track in masks.tracks)


def vote_counts(
    vote: Vote, read: Mapping[str, VideoMasks], expressions: Sequence[Expression]
) -> tuple[Count | None, ...]:
    """How a vote counted; as in `voting.fuse.fuse_video`, which made the masks."""
    members = aligned(vote.members, [read[name] for name in vote.members])
    position = {expression.id: index for index, expression in enumerate(expressions)}
    found: dict[str, Count] = {}
    for pool in pools(vote.pairing, members):
        ids = [members[0].tracks[index].expression.id for index in pool.expressions]
        if not all(id_ in position for id_ in ids):
            continue
        takes_first = pool.leftover and vote.leftover == "first"
        if takes_first and vote.leftover_takes_support:
            continue  # the result is not one of the masks that the page holds
        names = vote.members[:1] if takes_first else vote.members
        voters = tuple((name, position[id_]) for name in names for id_ in ids)
        needed = 1 if takes_first else vote.votes_needed(len(voters), leftover=pool.leftover)
        found |= dict.fromkeys(ids, Count(voters=voters, needed=needed))
    return tuple(found.get(expression.id) for expression in expressions)


def _comparisons(
    votes: Iterable[Vote], tracks: Mapping[str, tuple[MaskTrack | None, ...]], index: int
) -> list[tuple[RunLengths, RunLengths]]:
    members = [(member, vote.name) for vote in votes for member in vote.members if member in tracks]
    pairs = [(tracks[member][index], tracks[result][index]) for member, result in members]
    return [(member.runs, result.runs) for member, result in pairs if member is not None and result is not None]


# --- small enough for a page ----------------------------------------------------------------------------------------


def as_block(content: VideoContent, frames: Iterable[npt.NDArray[np.uint8]], longest: int) -> str:
    """A video as JSON text with pictures and masks of at most `longest` pixels a side.

    `frames` are WebP pictures in base64. `masks` is a deflated JSON object in base64: a list of COCO run-length
    strings, each once, and for every track the indices of its masks in this list. `report.js` reads it.
    """
    small = small_size(content.video.size, longest)
    strings = _Strings()

    def track(one: MaskTrack | None) -> dict[str, object] | None:
        if one is None:
            return None
        scores = None if one.scores is None else [round(float(score), 3) for score in one.scores]
        return {
            "masks": strings.numbers(encode_runs(small_masks(one.runs, one.size, small))),
            "scores": scores,
            "key": one.key_frame,
        }

    def truth(one: GroundTruth | None) -> dict[str, object] | None:
        if one is None:
            return None
        numbers = strings.numbers(encode_runs(small_masks(one.runs, content.video.size, small)))
        masks: list[int | None] = [None] * len(content.video)
        for frame, number in zip(one.frames, numbers, strict=True):
            masks[frame] = number
        return {"masks": masks, "scores": None, "key": None}

    masks = {
        "runs": {name: [track(one) for one in tracks] for name, tracks in content.tracks.items()},
        "truth": [truth(one) for one in content.truth],
        "counts": {
            name: [one and {"voters": one.voters, "needed": one.needed} for one in counts]
            for name, counts in content.counts.items()
        },
        "disagreement": [
            None if values is None else [round(float(value), 3) for value in values] for values in content.disagreement
        ],
        "strings": strings.all,
    }
    packed = zlib.compress(json.dumps(masks, separators=(",", ":")).encode(), 9)
    return json.dumps(
        {
            "size": small,
            "names": content.video.frame_names,
            "frames": [small_frame(frame, small) for frame in frames],
            "masks": base64.b64encode(packed).decode(),
        },
        separators=(",", ":"),
    )


class _Strings:
    """A list that has each string once: masks repeat if a pool of expressions shares them."""

    def __init__(self):
        self.all: list[str] = []
        self._numbers: dict[bytes, int] = {}

    def numbers(self, strings: Iterable[bytes]) -> list[int]:
        """The indices of these strings in the list."""
        return [self._number(string) for string in strings]

    def _number(self, string: bytes) -> int:
        if string not in self._numbers:
            self._numbers[string] = len(self.all)
            self.all.append(string.decode())
        return self._numbers[string]
