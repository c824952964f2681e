"""One video's members become one fused video: aligned, pooled and voted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mask_interchange import MaskTrack, RunLengths, VideoMasks
from mask_interchange.overlap import overlap

from fusion_core.errors import MemberError
from fusion_core.recipe.nodes import Vote
from fusion_core.voting.count import count_votes
from fusion_core.voting.mean import SoftMasks, mean_masks
from fusion_core.voting.pairing import Pool, pools

__all__ = ["MemberAgreement", "fuse_video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAgreement:
    """How a member agrees with the result of the votes that it took part in; all counts are pixels.

    Attributes:
        votes: pixels that it voted for.
        result: pixels of the result.
        shared: pixels in both.
    """

    votes: int = 0
    result: int = 0
    shared: int = 0

    def __add__(self, other: "MemberAgreement") -> "MemberAgreement":
        return MemberAgreement(
            votes=self.votes + other.votes, result=self.result + other.result, shared=self.shared + other.shared
        )

    @classmethod
    def of(cls, tracks: Sequence[MaskTrack], result: RunLengths) -> "MemberAgreement":
        """Agreement of a member's tracks with the masks that all of them got."""
        return cls(
            votes=sum(int(track.runs.areas().sum()) for track in tracks),
            result=int(result.areas().sum()) * len(tracks),
            shared=sum(overlap(track.runs, result)[0] for track in tracks),
        )

    @property
    def iou(self) -> float:
        """Intersection over union with the result; 1 if both are empty."""
        union = self.votes + self.result - self.shared
        return self.shared / union if union else 1.0

    @property
    def overruled(self) -> float:
        """Share of its pixels that are not in the result."""
        return 1 - self.shared / self.votes if self.votes else 0.0

    @property
    def missed(self) -> float:
        """Share of the result that it did not vote for."""
        return 1 - self.shared / self.result if self.result else 0.0


def fuse_video(vote: Vote, members: Sequence[VideoMasks]) -> tuple[VideoMasks, tuple[MemberAgreement, ...]]:
    """Vote over one video.

    Args:
        vote: the rule. The masks of a pool are voted once and shared by its expressions.
        members: the video as each member sees it, in the order of `vote.members`.

    Returns:
        The fused masks, with the first member's expressions, scores and key frames; and how each member agrees with
        them, over all pixels that were voted.

    Raises:
        MemberError: the members' frames, sizes or expressions differ, or the first one has no support masks although
            the vote takes them.
        PairingError: see `voting.pairing.pools`.
    """
    members = aligned(vote.members, members)
    first = members[0]
    tracks: dict[int, MaskTrack] = {}
    agreements = [MemberAgreement()] * len(members)
    for pool in pools(vote.pairing, members):
        if pool.leftover and vote.leftover == "first":
            tracks[pool.expressions[0]] = _own_track(vote, first, pool.expressions[0])
            continue
        runs, of_pool = (_mean_of_pool if vote.rule == "mean" else _vote_pool)(vote, members, pool)
        voted = MaskTrack.from_runs(first.tracks[pool.expressions[0]].expression, runs, first.size)
        tracks |= {index: _with_masks_of(voted, first.tracks[index]) for index in pool.expressions}
        agreements = [total + one for total, one in zip(agreements, of_pool, strict=True)]
    fused_video = VideoMasks(
        video=first.video,
        size=first.size,
        frame_names=first.frame_names,
        tracks=tuple(tracks[index] for index in range(len(first.tracks))),
    )
    return fused_video, tuple(agreements)


def _with_masks_of(voted: MaskTrack, track: MaskTrack) -> MaskTrack:
    """The voted masks, with expression, scores and key frame of a track."""
    return replace(
        voted,
        expression=track.expression,
        scores=track.scores,
        key_frame=track.key_frame,
        encoded_from=voted.runs,
    )


def _vote_pool(vote: Vote, members: Sequence[VideoMasks], pool: Pool) -> tuple[RunLengths, list[MemberAgreement]]:
    voters = [member.tracks[index].runs for member in members for index in pool.expressions]
    result = count_votes(voters, vote.votes_needed(len(voters), leftover=pool.leftover), members[0].size)
    each = len(pool.expressions)
    votes = result.areas.reshape(len(members), each).sum(axis=1).tolist()
    shared = result.shared.reshape(len(members), each).sum(axis=1).tolist()
    agreements = [
        MemberAgreement(votes=v, result=result.area * each, shared=s) for v, s in zip(votes, shared, strict=True)
    ]
    return result.runs, agreements


def _mean_of_pool(vote: Vote, members: Sequence[VideoMasks], pool: Pool) -> tuple[RunLengths, list[MemberAgreement]]:
    """Foreground where the mean of the stored probabilities reaches the vote's share."""
    tracks = [[member.tracks[index] for index in pool.expressions] for member in members]
    soft = [
        _soft(members[0].video, name, track)
        for name, of_member in zip(vote.members, tracks, strict=True)
        for track in of_member
    ]
    runs = mean_masks(soft, vote.share(leftover=pool.leftover), members[0].size)
    return runs, [MemberAgreement.of(of_member, runs) for of_member in tracks]


def _soft(video: str, member: str, track: MaskTrack) -> SoftMasks:
    if track.soft is None:
        raise MemberError(
            f"video {video}: member {member}: expression {track.expression.id!r} has no probabilities, which the rule"
            " 'mean' averages. Make the run with --soft-masks PIXELS, or use rule 'count'"
        )
    return track.soft


def _own_track(vote: Vote, first: VideoMasks, index: int) -> MaskTrack:
    """The first member's own masks of an expression that is left over."""
    track = first.tracks[index]
    masks = track.support if vote.leftover_takes_support else track.masks
    if masks is None:
        raise MemberError(
            f"video {first.video}: member {vote.members[0]}: expression {track.expression.id!r} has no support masks,"
            " which a faithful vote takes for the expression left over. Run the member again with a program that"
            " stores probabilities, or vote without --faithful"
        )
    return replace(track, masks=masks, support=None, soft=None)


def aligned(names: Sequence[str], members: Sequence[VideoMasks]) -> list[VideoMasks]:
    """Members with their expressions in the first one's order.

    Raises:
        MemberError: names the member, the video, what differs, and both values.
    """
    first = members[0]
    return [first, *(_like(first, names[0], member, name) for name, member in zip(names[1:], members[1:], strict=True))]


def _like(first: VideoMasks, first_name: str, member: VideoMasks, name: str) -> VideoMasks:
    def differ(what: str, found: object, expected: object) -> MemberError:
        return MemberError(
            f"video {first.video}: member {name}: {what} {found}, but {expected} in member {first_name};"
            " members of a vote must come from the same frames and expressions"
        )

    if member.size != first.size:
        raise differ("size", "x".join(map(str, member.size)), "x".join(map(str, first.size)))
    if member.frame_names != first.frame_names:
        if len(member.frame_names) != len(first.frame_names):
            raise differ("number of frames", len(member.frame_names), len(first.frame_names))
        pairs = enumerate(zip(member.frame_names, first.frame_names, strict=True))
        frame, (found, expected) = next((frame, pair) for frame, pair in pairs if pair[0] != pair[1])
        raise differ(f"frame {frame} is called", repr(found), repr(expected))
    if set(member.expression_ids) != set(first.expression_ids):
        raise differ("expressions", sorted(member.expression_ids), sorted(first.expression_ids))
    tracks = tuple(member.track(expression) for expression in first.expression_ids)
    for track, model in zip(tracks, first.tracks, strict=True):
        for field in ("text", "group"):
            found, expected = getattr(track.expression, field), getattr(model.expression, field)
            if None not in (found, expected) and found != expected:
                raise differ(f"{field} of expression {track.expression.id!r} is", repr(found), repr(expected))
    return replace(member, tracks=tracks)
