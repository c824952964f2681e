"""What a fused run records of its vote, and what older versions recorded."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from fusion_core.recipe.nodes import Pairing, Vote
from fusion_core.voting.fused_run import FusedRun, recorded_vote
from mask_interchange import Expression, MaskRun, MaskTrack, RunError, RunManifest, VideoMasks

VOTE = Vote(name="voted", members=("a", "b"), threshold=2, out_of=4, leftover="first", leftover_takes_support=True)


@pytest.fixture
def members(tmp_path):
    """Two runs with one video of three expressions, and support masks."""
    runs = []
    for seed, name in enumerate(VOTE.members):
        manifest = RunManifest(
            producer="test", producer_version="1", dataset={"name": "random", "split": None, "fingerprint": None}
        )
        rng = np.random.default_rng(seed)
        tracks = tuple(
            MaskTrack.from_masks(Expression(id=id_), rng.random((2, 4, 5)) < 0.5, support=np.ones((2, 4, 5), bool))
            for id_ in "012"
        )
        runs.append(MaskRun.create(tmp_path / name, manifest))
        runs[-1].write(VideoMasks(video="dog", size=(4, 5), frame_names=("0", "1"), tracks=tracks))
    return runs


def voted(vote, members, out):
    """A fused run that is done."""
    fused = FusedRun(vote, members, out)
    fused.start()
    fused.fuse("dog")
    return fused


def as_version_0_1_0(run, *, faithful):
    """Rewrite the manifest of a fused run: that version recorded the switch of the recipe, and not what it switched."""
    file = run.path / "run.json"
    tree = json.loads(file.read_bytes())
    del tree["settings"]["leftover_takes_support"], tree["settings"]["rule"]
    tree["settings"]["faithful"] = faithful
    file.write_text(json.dumps(tree))


def test_a_manifest_says_everything_about_its_vote(members, tmp_path):
    vote = replace(VOTE, pairing=Pairing.AGREEMENT)
    run = voted(vote, members, tmp_path / "voted").run
    assert run.manifest.settings.keys() == {field.name for field in fields(Vote)} - {"name"}
    assert recorded_vote(MaskRun.open(run.path)) == vote
    assert recorded_vote(members[0]) is None


@pytest.mark.parametrize("field", sorted({field.name for field in fields(Vote)} - {"name", "members"}))
def test_any_other_vote_is_another_run(members, tmp_path, field):
    others = {
        "threshold": 3,
        "out_of": 5,
        "leftover": 1,
        "leftover_takes_support": False,
        "pairing": Pairing.NONE,
        "rule": "mean",
    }
    changes = {field: others[field]} | ({"leftover_takes_support": False} if field == "leftover" else {})
    fused = voted(VOTE, members, tmp_path / "voted")
    assert fused.difference is None
    other = FusedRun(replace(VOTE, **changes), members, tmp_path / "voted")
    assert field in other.difference
    assert not other.members_changed
    with pytest.raises(RunError, match="the existing run has different settings"):
        other.start()
    assert fused.is_done("dog")


@pytest.mark.parametrize("vote", [VOTE.corrected(), replace(VOTE, leftover=1, leftover_takes_support=False)])
def test_a_run_of_version_0_1_0_goes_on_where_its_vote_is_known(members, tmp_path, vote):
    """Its manifest stays, so that runs made from it are not made again."""
    run = voted(vote, members, tmp_path / "voted").run
    as_version_0_1_0(run, faithful=vote.leftover == 1)  # a faithful recipe too, where no leftover takes a member's mask
    before = (run.path / "run.json").read_bytes()
    fused = FusedRun(vote, members, run.path)
    assert fused.difference is None
    assert not fused.start()
    assert fused.pending() == []
    assert (run.path / "run.json").read_bytes() == before
    assert recorded_vote(MaskRun.open(run.path)) == vote


@pytest.mark.parametrize("vote", [VOTE, VOTE.corrected()])
def test_a_faithful_run_of_version_0_1_0_may_be_either(members, tmp_path, vote):
    run = voted(vote, members, tmp_path / "voted").run
    as_version_0_1_0(run, faithful=True)
    fused = FusedRun(vote, members, run.path)
    with pytest.raises(RunError, match=r"version 0\.1\.0 did not record leftover_takes_support"):
        fused.start()
    assert MaskRun.open(run.path).read("dog")


def test_an_empty_run_of_another_vote_is_replaced(members, tmp_path):
    FusedRun(VOTE, members, tmp_path / "voted").start()
    other = FusedRun(replace(VOTE, threshold=3), members, tmp_path / "voted")
    assert not other.start()
    assert recorded_vote(MaskRun.open(tmp_path / "voted")).threshold == 3
