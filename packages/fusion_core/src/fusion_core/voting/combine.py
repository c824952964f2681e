"""One video of a node that makes a run from other runs: vote, choose, gate or rescore."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
from mask_interchange import MaskTrack, VideoMasks, encode_mask
from mask_interchange.overlap import frame_ious, track_iou

from fusion_core.errors import MemberError
from fusion_core.recipe.nodes import Choose, FusionNode, Gate, Rescore, Vote
from fusion_core.voting.fuse import MemberAgreement, aligned, fuse_video

__all__ = ["combine_video"]


def combine_video(node: FusionNode, inputs: Sequence[VideoMasks]) -> tuple[VideoMasks, tuple[MemberAgreement, ...]]:
    """Make one video of a run from other runs.

    Args:
        node: the rule.
        inputs: the video as each run has it, in the order of `node.inputs`.

    Returns:
        The video, and how each input agrees with it.

    Raises:
        MemberError: the inputs' frames, sizes or expressions differ, or one lacks scores or probabilities that the
            rule needs.
        PairingError: see `voting.pairing.pools`.
    """
    if isinstance(node, Vote):
        return fuse_video(node, inputs)
    runs = dict(zip(node.inputs, aligned(node.inputs, inputs), strict=True))
    first = runs[node.inputs[0]]
    match node:
        case Choose():
            tracks = tuple(_choose(node, runs, index) for index in range(len(first.tracks)))
        case Gate():
            tracks = tuple(_gate(node, runs, index) for index in range(len(first.tracks)))
        case Rescore():
            tracks = tuple(_rescore(node, runs, index) for index in range(len(first.tracks)))
    return replace(first, tracks=tracks), tuple(_agreement(run, tracks) for run in runs.values())


def _choose(node: Choose, runs: dict[str, VideoMasks], index: int) -> MaskTrack:
    track = {name: run.tracks[index] for name, run in runs.items()}

    def agreement(member: str) -> float:
        return fmean(track_iou(track[member].runs, track[judge].runs) for judge in node.judges_of(member))

    chosen = track[max(node.members, key=agreement)]
    return replace(chosen, expression=track[node.members[0]].expression, encoded_from=chosen.runs)


def _gate(node: Gate, runs: dict[str, VideoMasks], index: int) -> MaskTrack:
    name = node.scores or node.source
    scores, track = runs[name].tracks[index].scores, runs[node.source].tracks[index]
    if scores is None:
        raise MemberError(
            f"video {runs[name].video}: {name}: expression {track.expression.id!r} has no scores, which the gate"
            f" {node.name} needs. Name a run with scores, for instance the one that {name} was propagated from"
        )
    if scores.max() >= node.threshold:
        return track
    nothing = encode_mask(np.zeros(track.size, bool))
    return replace(
        track,
        masks=(nothing,) * len(track),
        support=None,
        soft=None if track.soft is None else np.zeros_like(track.soft),
        encoded_from=None,
    )


def _rescore(node: Rescore, runs: dict[str, VideoMasks], index: int) -> MaskTrack:
    track = runs[node.source].tracks[index]
    ious = [frame_ious(track.runs, runs[judge].tracks[index].runs) for judge in node.judges]
    scores = np.where(track.runs.areas() > 0, np.mean(ious, axis=0), 0).astype(np.float32)
    best = np.flatnonzero(scores == scores.max())
    key_frame = best[np.abs(best - (len(scores) - 1) / 2).argmin()]
    return replace(track, scores=scores, key_frame=int(key_frame), encoded_from=track.runs)


def _agreement(run: VideoMasks, result: Sequence[MaskTrack]) -> MemberAgreement:
    pairs = zip(run.tracks, result, strict=True)
    return sum((MemberAgreement.of([track], made.runs) for track, made in pairs), MemberAgreement())
