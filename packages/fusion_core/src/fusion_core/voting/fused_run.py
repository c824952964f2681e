"""One fused run: joins members, pairing and vote, and remembers what it was made of.

runs/final/run.json             the vote's settings and the fingerprints of its members
runs/final/videos/dog.masks     the fused masks
runs/final/votes/dog.json       hashes of the member files that were voted, and how each member stood to the result
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from mask_interchange import MaskRun, RunManifest
from mask_interchange.codec import SUFFIX
from mask_interchange.names import natural_key

from fusion_core.errors import MemberError
from fusion_core.recipe.graph import Vote
from fusion_core.voting.fuse import Standing, fuse_video


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
