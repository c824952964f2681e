"""A fused run on disk: a vote or its kin over runs, video by video, which resumes where it stopped.

runs/final/run.json             the rule, field by field, and the fingerprints of its members
runs/final/videos/dog.masks     the fused masks
runs/final/records/dog.json     hashes of the member files that were voted
runs/final/votes/dog.json       how each member agreed with the result
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from mask_interchange import MadeOf, MaskRun, RunError, RunManifest, natural_key
from mask_interchange.files import write_whole
from program_kit.distributions import version_of

from fusion_core.errors import MemberError, RecipeError
from fusion_core.recipe.nodes import FusionNode, Pairing, Vote
from fusion_core.voting.combine import combine_video
from fusion_core.voting.fuse import MemberAgreement

PRODUCER = "fusion-core"
RULE = tuple(field.name for field in fields(Vote) if field.name != "name")  # what a manifest says of a vote


class FusedRun:
    """A vote, choice, gate or new scores over runs on disk.

    A video is done if its fused file is there, beside a record that says, by hash, that it was made by this rule from
    exactly the member files that are there now. If the manifest of a member changes, `start` begins the whole fused
    run again.

    Attributes:
        node: the rule.
        members: the runs that it reads, in the order of `node.inputs`.
        run: the fused run; it exists after `start`.
    """

    def __init__(self, node: FusionNode, members: Sequence[MaskRun], out: Path) -> None:
        self.node = node
        self.members = members
        self._manifest = _manifest(node, members)
        self.run = MaskRun(out, self._manifest)
        self._votes = out / "votes"

    @property
    def difference(self) -> str | None:
        """How the run on disk differs from this rule over these members; None if it does not, or is not there."""
        there = self._on_disk()
        if there is None:
            return None
        if there.settings.get("leftover_takes_support", False) is None:
            return "version 0.1.0 did not record leftover_takes_support in a faithful vote, so its masks may differ"
        return there.difference(self.run.manifest)

    @property
    def members_changed(self) -> bool:
        """Whether the run on disk has the same rule over members whose manifests have changed since."""
        there, now = self._on_disk(), self.run.manifest
        return there is not None and there != now and _without_fingerprints(there) == _without_fingerprints(now)

    def start(self) -> bool:
        """Start the fused run, or resume it.

        Returns:
            Whether fused videos were removed because members have changed.

        Raises:
            RunError: there is a run with other settings, or something else.
        """
        restarted = self.members_changed
        if restarted or (self.difference and not self.run.videos()):
            self._clear()
        if why := self.difference:
            raise RunError(
                f"{self.run.path}: the existing run has different settings: {why}."
                " Give another folder with --out, or delete this one"
            )
        if self._on_disk() is None:
            self.run = MaskRun.create(self.run.path, self.run.manifest)
        else:  # its manifest stays as it is, also where it is in the terms of an older version
            self.run = MaskRun.open(self.run.path)
        self._votes.mkdir(exist_ok=True)
        return restarted

    def videos(self) -> list[str]:
        """Every video that a member has, in natural order."""
        return sorted({video for member in self.members for video in member.videos()}, key=natural_key)

    def pending(self) -> list[str]:
        """The videos that are not voted yet, or were voted from files that the members no longer hold."""
        return [video for video in self.videos() if not self.is_done(video)]

    def is_done(self, video: str) -> bool:
        """Whether the video was voted, from the very files that the members hold now."""
        recorded = self.run.made_of(video)
        if recorded is None or recorded != self._made_of(video):
            return False
        return self._recorded_agreements(video, recorded) is not None

    def fuse(self, video: str) -> None:
        """Vote over one video and write the result.

        Raises:
            MemberError, PairingError: see `combine_video`; also if a member does not have the video.
            MaskFileError: a member's file is damaged.
        """
        missing = [member.name for member in self.members if not member.has(video)]
        if missing:
            raise MemberError(
                f"video {video}: missing in {', '.join(missing)}; finish the run of that member, then vote again"
            )
        inputs, hashes = zip(*(member.read_hashed(video) for member in self.members), strict=True)
        made_of = MadeOf(manifest=self._manifest.sha256, sources=hashes)
        fused, agreements = combine_video(self.node, inputs)
        record = {"inputs": made_of.sources, "standings": [asdict(one) for one in agreements]}
        write_whole(self._votes / f"{video}.json", json.dumps(record).encode())
        self.run.write(fused, made_of)

    def agreements(self) -> list[MemberAgreement]:
        """How each member agrees with the result, over all finished videos."""
        totals = [MemberAgreement()] * len(self.members)
        for video in self.run.videos():
            if (made_of := self.run.made_of(video)) and (agreements := self._recorded_agreements(video, made_of)):
                totals = [total + one for total, one in zip(totals, agreements, strict=True)]
        return totals

    def _on_disk(self) -> RunManifest | None:
        """The manifest of the run on disk, in the terms of this version; None if there is no run."""
        if not (self.run.path / "run.json").is_file():
            return None
        manifest = MaskRun.open(self.run.path).manifest
        return replace(manifest, settings=_current_terms(manifest.settings))

    def _clear(self) -> None:
        """Remove the run on disk."""
        with self.run.writing():
            for folder in ("votes", "records", "videos"):
                shutil.rmtree(self.run.path / folder, ignore_errors=True)
            (self.run.path / "run.json").unlink()

    def _made_of(self, video: str) -> MadeOf:
        """What the masks of a video would be voted from now."""
        return MadeOf(
            manifest=self._manifest.sha256,
            sources=tuple(member.sha256(video) for member in self.members),
        )

    def _recorded_agreements(self, video: str, made_of: MadeOf) -> list[MemberAgreement] | None:
        """How each member agreed with the result of this vote; None if that is not recorded, or damaged."""
        try:
            tree = json.loads((self._votes / f"{video}.json").read_bytes())
            agreements = [MemberAgreement(**one) for one in tree["standings"]]
            current = tuple(tree["inputs"]) == made_of.sources and len(agreements) == len(self.members)
        except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
            return None
        return agreements if current else None


# --- a vote in a manifest ---------------------------------------------------------------------------------------------


def recorded_vote(run: MaskRun) -> Vote | None:
    """The vote that a fused run was made by, from its manifest; None if it is not a fused run.

    In a run of which `leftover_takes_support` is not known (see `_current_terms`), it counts as true.
    """
    settings = _current_terms(run.manifest.settings)
    rule = {key: value for key, value in settings.items() if key in RULE}
    if run.manifest.producer != PRODUCER or rule.keys() != set(RULE):
        return None
    rule["leftover_takes_support"] = rule["leftover_takes_support"] is not False
    try:
        members = tuple(member["name"] for member in settings["members"])
        return Vote(name=run.name, **(rule | {"members": members, "pairing": Pairing(rule["pairing"])}))
    except (RecipeError, KeyError, TypeError, ValueError):
        return None


def _manifest(node: FusionNode, members: Sequence[MaskRun]) -> RunManifest:
    """Every field of the node; the runs that it reads with the fingerprints of their manifests."""
    named = zip(node.inputs, members, strict=True)
    read = [{"name": name, "fingerprint": member.manifest.sha256} for name, member in named]
    rule = {field.name: getattr(node, field.name) for field in fields(node) if field.name != "name"}
    return RunManifest(
        producer=PRODUCER,
        producer_version=version_of("fusion-core"),
        settings=rule | {"members": read} if isinstance(node, Vote) else {"node": node.kind, **rule, "inputs": read},
        dataset=members[0].manifest.dataset,
    )


def _current_terms(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a fused run with the keys of this version.

    Version 0.1.0 recorded `faithful`, without which `leftover_takes_support` has no effect, and not the latter. So it
    is false in votes that were not faithful, and where no leftover takes the first member's mask. In all others it is
    not known: None, which differs from both values. Versions before `rule` counted.
    """
    terms = dict(settings)
    if "faithful" in terms and "leftover_takes_support" not in terms:
        is_known = not terms.pop("faithful") or terms.get("leftover") != "first"
        terms["leftover_takes_support"] = False if is_known else None
    if "threshold" in terms and "pairing" in terms:
        terms.setdefault("rule", Vote.rule)
    return terms


def _without_fingerprints(manifest: RunManifest) -> tuple[object, ...]:
    settings = dict(manifest.settings)
    members = settings.pop("inputs" if "node" in settings else "members", None)
    names = [member.get("name") for member in members] if isinstance(members, list) else None
    return manifest.producer, manifest.producer_version, names, settings
