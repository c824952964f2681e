"""One fused run: joins members, pairing and vote, and remembers what it was made of.

runs/final/run.json             the vote's settings and the fingerprints of its members
runs/final/videos/dog.masks     the fused masks
runs/final/votes/dog.json       hashes of the member files that were voted, and how each member stood to the result
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks
from mask_interchange.codec import SUFFIX
from mask_interchange.names import natural_key
from mask_interchange.rle import RunLengths

from fusion_core.errors import MemberError
from fusion_core.pairing import Pool, pools
from fusion_core.recipe.graph import Vote
from fusion_core.voting import vote as count_votes


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a member stood to the result of the votes it took part in; all counts are pixels.

    Attributes:
        votes: pixels it voted for.
        result: pixels of the result.
        shared: pixels in both.
    """

    votes: int = 0
    result: int = 0
    shared: int = 0

    def __add__(self, other: "Standing") -> "Standing":
        return Standing(
            votes=self.votes + other.votes, result=self.result + other.result, shared=self.shared + other.shared
        )

    @property
    def iou(self) -> float:
        """Intersection over union with the result; 1 where both are empty."""
        union = self.votes + self.result - self.shared
        return self.shared / union if union else 1.0

    @property
    def overruled(self) -> float:
        """Share of the pixels it voted for that did not make it into the result."""
        return 1 - self.shared / self.votes if self.votes else 0.0

    @property
    def missed(self) -> float:
        """Share of the result that it had not voted for."""
        return 1 - self.shared / self.result if self.result else 0.0


def fuse_video(
    vote: Vote, members: Sequence[VideoMasks], *, faithful: bool = False
) -> tuple[VideoMasks, tuple[Standing, ...]]:
    """Vote over one video.

    Args:
        vote: the rule. The masks of a pool are voted once and shared by its expressions.
        members: the video as each member sees it, in the order of `vote.members`.
        faithful: repeat the published treatment of the leftover expression (`Vote.leftover_takes_support`).

    Returns:
        The fused masks, with the first member's expressions, scores and key frames, and each member's standing over
        all pixels that were voted.

    Raises:
        MemberError: the members' frames, sizes or expressions differ, or the faithful vote lacks data.
        PairingError: see `pairing.pools`.
    """
    members = aligned(vote.members, members)
    first = members[0]
    tracks: dict[int, MaskTrack] = {}
    standings = [Standing()] * len(members)
    for pool in pools(vote.pairing, members):
        if pool.leftover and vote.leftover == "first":
            tracks[pool.expressions[0]] = _own_track(vote, first, pool.expressions[0], faithful)
            continue
        runs, of_pool = _vote_pool(vote, members, pool)
        voted = MaskTrack.from_runs(first.tracks[pool.expressions[0]].expression, runs, first.size)
        tracks |= {index: _as_in(first.tracks[index], voted) for index in pool.expressions}
        standings = [total + one for total, one in zip(standings, of_pool, strict=True)]
    fused_video = VideoMasks(
        video=first.video,
        size=first.size,
        frame_names=first.frame_names,
        tracks=tuple(tracks[index] for index in range(len(first.tracks))),
    )
    return fused_video, tuple(standings)


def _as_in(track: MaskTrack, voted: MaskTrack) -> MaskTrack:
    return replace(
        voted,
        expression=track.expression,
        scores=track.scores,
        key_frame=track.key_frame,
        encoded_from=voted.runs,
    )


def _vote_pool(vote: Vote, members: Sequence[VideoMasks], pool: Pool) -> tuple[RunLengths, list[Standing]]:
    voters = [member.tracks[index].runs for member in members for index in pool.expressions]
    needed = vote.leftover if pool.leftover and isinstance(vote.leftover, int) else vote.needed(len(voters))
    ballot = count_votes(voters, needed, members[0].size)
    each = len(pool.expressions)
    votes = ballot.areas.reshape(len(members), each).sum(axis=1).tolist()
    shared = ballot.shared.reshape(len(members), each).sum(axis=1).tolist()
    standings = [Standing(votes=v, result=ballot.area * each, shared=s) for v, s in zip(votes, shared, strict=True)]
    return ballot.runs, standings


def _own_track(vote: Vote, first: VideoMasks, index: int, faithful: bool) -> MaskTrack:
    track = first.tracks[index]
    masks = track.support if faithful and vote.leftover_takes_support else track.masks
    if masks is None:
        raise MemberError(
            f"video {first.video}: member {vote.members[0]}: expression {track.expression.id!r} has no support masks,"
            " which a faithful vote takes for the expression left over. Run the member again with the program that"
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


class Fusion:
    """A vote over runs on disk, one video at a time; continues where it was stopped.

    A video is done when its fused file stands beside a record that names exactly the member files there are now, by
    hash. A member that was made anew with other settings starts the whole fused run anew.

    Attributes:
        vote: the rule.
        members: the runs that vote.
        run: the fused run; it is there once `start` was called.
    """

    def __init__(self, vote: Vote, members: Sequence[MaskRun], out: Path, *, faithful: bool = False) -> None:
        self.vote = vote
        self.members = members
        self.faithful = faithful
        self._fingerprints = [fingerprint(member.manifest) for member in members]
        self.run = MaskRun(out, self._manifest())
        self._records = out / "votes"

    def start(self) -> bool:
        """Open the members' fused run, or start it; whether fused videos of former members were removed for that.

        Raises:
            RunError: there is a run of other settings, or something else.
        """
        restarted = self._clear_outdated()
        self.run = MaskRun.create(self.run.path, self.run.manifest)
        self._records.mkdir(exist_ok=True)
        return restarted

    @property
    def is_outdated(self) -> bool:
        """Whether there is a fused run of the same vote over members that were made anew since."""
        if not (self.run.path / "run.json").is_file():
            return False
        there, now = MaskRun.open(self.run.path).manifest, self.run.manifest
        return there != now and _without_fingerprints(there) == _without_fingerprints(now)

    def _manifest(self) -> RunManifest:
        settings = {
            "members": [
                {"name": name, "fingerprint": fingerprint}
                for name, fingerprint in zip(self.vote.members, self._fingerprints, strict=True)
            ],
            "threshold": self.vote.threshold,
            "out_of": self.vote.out_of,
            "leftover": self.vote.leftover,
            "pairing": str(self.vote.pairing),
            "faithful": self.faithful,
        }
        return RunManifest(
            producer="fusion-core",
            producer_version=version("fusion-core"),
            settings=settings,
            dataset=self.members[0].manifest.dataset,
        )

    def _clear_outdated(self) -> bool:
        """Remove a fused run whose members were made anew since. One of other settings stays for the user to decide."""
        if not self.is_outdated:
            return False
        with self.run.writing():
            shutil.rmtree(self._records, ignore_errors=True)
            shutil.rmtree(self.run.path / "videos", ignore_errors=True)
            (self.run.path / "run.json").unlink()
        return True

    def videos(self) -> list[str]:
        """Every video that some member has, in natural order."""
        return sorted({video for member in self.members for video in member.videos()}, key=natural_key)

    def pending(self) -> list[str]:
        """The videos that are not voted yet, or were voted from other files than the members hold now."""
        return [video for video in self.videos() if not self.is_done(video)]

    def fuse(self, video: str) -> None:
        """Vote over one video and write it.

        Raises:
            MemberError, PairingError: see `fuse_video`; also when a member lacks the video.
            MaskFileError: a member's file is damaged.
        """
        lacking = [member.name for member in self.members if not member.has(video)]
        if lacking:
            raise MemberError(
                f"video {video}: missing in {', '.join(lacking)}; finish the run of that member, then vote again"
            )
        inputs = self._inputs(video)
        fused, standings = fuse_video(
            self.vote, [member.read(video) for member in self.members], faithful=self.faithful
        )
        self.run.write(fused)
        record = _Record(inputs=inputs, standings=standings)
        self._record_file(video).write_text(json.dumps(asdict(record)))  # if a crash tears it, the video is voted again

    def standings(self) -> list[Standing]:
        """Each member's standing over all finished videos."""
        totals = [Standing()] * len(self.members)
        for video in self.run.videos():
            if record := self._record(video):
                totals = [total + one for total, one in zip(totals, record.standings, strict=True)]
        return totals

    def is_done(self, video: str) -> bool:
        """Whether the video is voted, from the very files that the members hold now."""
        record = self._record(video)
        return self.run.has(video) and record is not None and record.inputs == self._inputs(video)

    def _inputs(self, video: str) -> list[str | None]:
        """SHA-256 of each member's file of the video; None where there is none."""
        return [file_sha256(member.path / "videos" / (video + SUFFIX)) for member in self.members]

    def _record(self, video: str) -> "_Record | None":
        """What was written when the video was voted; None when that is absent or damaged, then it is voted again."""
        try:
            tree = json.loads(self._record_file(video).read_bytes())
            record = _Record(inputs=tree["inputs"], standings=[Standing(**one) for one in tree["standings"]])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        return record if len(record.standings) == len(self.members) else None

    def _record_file(self, video: str) -> Path:
        return self._records / f"{video}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """What a video was voted from, and how that went; stands beside the fused file.

    Attributes:
        inputs: SHA-256 of each member's file.
        standings: of each member.
    """

    inputs: Sequence[str | None]
    standings: Sequence[Standing]


def _without_fingerprints(manifest: RunManifest) -> tuple[object, ...]:
    settings = dict(manifest.settings)
    members = settings.pop("members", None)
    names = [member.get("name") for member in members] if isinstance(members, list) else None
    return manifest.producer, manifest.producer_version, names, settings


def fingerprint(manifest: RunManifest) -> str:
    """SHA-256 of a run's manifest."""
    return hashlib.sha256(manifest.to_json().encode()).hexdigest()


def file_sha256(path: Path) -> str | None:
    """SHA-256 of a file's content; None when there is no such file."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
