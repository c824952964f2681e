"""`fusion-core fuse` on runs on disk, as a user calls it."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from fusion_core.cli import app
from golden_cases import GoldenCase
from mask_interchange import (
    Expression,
    MaskRun,
    MaskTrack,
    RunManifest,
    VideoMasks,
    binary_from_logits,
    binary_from_probabilities,
    support_from_probabilities,
)
from typer.testing import CliRunner

SIZE = (5, 6)
GOLDENS = Path(__file__).parents[1] / "goldens" / "fusion_core"


def call(*arguments):
    return CliRunner().invoke(app, ["fuse", *map(str, arguments)])


def start(folder, seed=0):
    dataset = {"name": "random", "split": None, "fingerprint": None}
    return MaskRun.create(
        folder, RunManifest(producer="test", producer_version="1", settings={"seed": seed}, dataset=dataset)
    )


def random_masks(video, seed, size=SIZE):
    rng = np.random.default_rng(seed)
    tracks = tuple(
        MaskTrack.from_masks(Expression(id=str(i)), rng.random((2, *size)) < 0.5, scores=rng.random(2))
        for i in range(3)
    )
    return VideoMasks(video=video, size=size, frame_names=("0", "1"), tracks=tracks)


@pytest.fixture
def runs(tmp_path):
    """Three members a, b, c with the videos v1, v2, v10."""
    folder = tmp_path / "runs"
    for number, member in enumerate("abc"):
        run = start(folder / member)
        for video in ("v1", "v2", "v10"):
            run.write(random_masks(video, 10 * number + len(video)))
    return folder


def vote(runs, *more, out="mine", members="a,b,c", threshold=3):
    return call("--runs", runs, "--members", members, "--threshold", threshold, "--out", runs / out, *more)


def files(run):
    return {path.name: path.read_bytes() for path in (run / "videos").iterdir()}


def times(run):
    return {path.name: path.stat().st_mtime_ns for path in (run / "videos").glob("*.masks")}


def changed(before, after):
    return sorted(name for name in after if after[name] != before.get(name))


def test_a_vote_in_which_every_video_failed_shows_no_agreement(runs):
    result = vote(runs, "--rule", "mean")
    assert result.exit_code == 1
    assert "--soft-masks" in result.stderr
    assert "0 videos voted, 0 were voted before, 3 failed" in result.stdout
    assert "IoU" not in result.stdout
    assert json.loads(vote(runs, "--rule", "mean", "--json").stdout)["members"] == []


def test_any_vote(runs):
    result = vote(runs)
    assert result.exit_code == 0, result.output
    assert "3 videos voted, 0 were voted before, 0 failed" in result.stdout
    members = [MaskRun.open(runs / name).read("v2") for name in "abc"]
    votes = sum(member.track("1").stack().astype(int) for member in members)
    fused = MaskRun.open(runs / "mine")
    assert np.array_equal(fused.read("v2").track("1").stack(), votes >= 2)
    assert fused.videos() == ["v1", "v2", "v10"]
    settings = fused.manifest.settings
    assert [member["name"] for member in settings["members"]] == ["a", "b", "c"]
    assert {key: settings[key] for key in settings if key != "members"} == {
        "threshold": 3,
        "out_of": 6,
        "leftover": None,
        "pairing": "auto",
        "leftover_takes_support": False,
        "rule": "count",
    }


@pytest.mark.parametrize("rule", [("--pairing", "consecutive"), ("--leftover", "2")])
def test_neighbours_pool_where_that_is_asked_for(runs, rule):
    assert vote(runs, *rule).exit_code == 0
    members = [MaskRun.open(runs / name).read("v2") for name in "abc"]
    votes = sum(member.track(id_).stack().astype(int) for member in members for id_ in "01")
    fused = MaskRun.open(runs / "mine")
    assert np.array_equal(fused.read("v2").track("1").stack(), votes >= 3)
    assert fused.manifest.settings["pairing"] == "consecutive"


@pytest.mark.parametrize("groups", [None, "12134"])
def test_a_vote_of_equal_members_changes_nothing(tmp_path, groups):
    """Neighbours of different objects, or labels without expressions, pooled by default in version 0.1.0."""
    owner = np.random.default_rng(0).integers(0, 6, (2, *SIZE))
    labels = groups or "12345"
    tracks = tuple(
        MaskTrack.from_masks(Expression(id=str(i), text=groups and f"object {label}", group=groups and label), mask)
        for i, label in enumerate(labels)
        for mask in [owner == int(label)]
    )
    masks = VideoMasks(video="v", size=SIZE, frame_names=("0", "1"), tracks=tracks)
    for name in "ab":
        start(tmp_path / name).write(masks)
    assert vote(tmp_path, members="a,b", threshold=2).exit_code == 0
    assert MaskRun.open(tmp_path / "mine").read("v") == masks


def test_a_vote_of_real_labels_with_themselves_keeps_their_scores(tmp_path):
    root = os.environ.get("RVOS_DATA")
    if not root:
        pytest.skip("RVOS_DATA is not set: no real masks here")
    truth = Path(root) / "davis_mini" / "predictions_two_objects"
    for name in "ab":
        imported = CliRunner().invoke(app, ["import", "--annotations", str(truth), "--out", str(tmp_path / name)])
        assert imported.exit_code == 0, imported.output
    assert vote(tmp_path, members="a,b", threshold=2).exit_code == 0
    scored = CliRunner().invoke(app, ["evaluate", str(tmp_path / "mine"), "--annotations", str(truth), "--json"])
    assert json.loads(scored.stdout)["overall"]["J&F"] == 1


def test_without_pairing_the_threshold_counts_members(runs):
    assert vote(runs, "--pairing", "none", threshold=2).exit_code == 0
    members = [MaskRun.open(runs / name).read("v1") for name in "abc"]
    votes = sum(member.track("2").stack().astype(int) for member in members)
    assert np.array_equal(MaskRun.open(runs / "mine").read("v1").track("2").stack(), votes >= 2)


def test_members_may_be_paths(runs, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "d"
    start(elsewhere).write(random_masks("v1", 7))
    result = vote(runs, members=f"a,{elsewhere}", threshold=4)
    assert result.exit_code == 1
    assert "video v2: missing in d" in result.stderr
    assert MaskRun.open(runs / "mine").videos() == ["v1"]


def test_each_member_s_standing_is_shown(runs):
    lines = vote(runs, members="a,a,b", threshold=5).stdout.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["a", "a", "b"]
    assert lines[-3] == lines[-2] != lines[-1]


def test_the_same_call_again_votes_nothing(runs):
    vote(runs)
    before = times(runs / "mine")
    result = vote(runs)
    assert "0 videos voted, 3 were voted before" in result.stdout
    assert times(runs / "mine") == before


def test_a_changed_member_file_is_voted_again(runs):
    vote(runs)
    before = times(runs / "mine")
    MaskRun.open(runs / "b").write(random_masks("v2", 99))
    assert "1 videos voted, 2 were voted before" in vote(runs).stdout
    assert changed(before, times(runs / "mine")) == ["v2.masks"]


def test_a_member_made_again_starts_the_vote_again(runs):
    vote(runs)
    masks = MaskRun.open(runs / "b").read("v1")
    (runs / "b").rename(runs / "old")
    start(runs / "b", seed=1).write(masks)
    result = vote(runs)
    assert result.exit_code == 1
    assert "because a member has changed" in result.stderr
    assert MaskRun.open(runs / "mine").videos() == ["v1"]


def test_an_interrupted_vote_goes_on(runs, monkeypatch):
    with monkeypatch.context() as patch:

        def interrupted(self, masks, made_of, write=MaskRun.write):
            if masks.video == "v10":
                raise KeyboardInterrupt
            write(self, masks, made_of)

        patch.setattr(MaskRun, "write", interrupted)
        result = vote(runs)
    assert result.exit_code == 130
    assert "the same command continues" in result.stderr
    assert "1 videos voted, 2 were voted before" in vote(runs).stdout


def test_other_settings_do_not_mix_into_a_run(runs):
    vote(runs)
    before = files(runs / "mine")
    result = vote(runs, threshold=4)
    assert result.exit_code == 2
    assert "setting threshold: was 3, is 4" in result.stderr
    assert files(runs / "mine") == before


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"inputs": [], "standings": [{"votes": 1, "more": 2}]}'])
def test_a_damaged_record_only_costs_a_vote(runs, damage):
    vote(runs)
    before = files(runs / "mine")
    (runs / "mine" / "votes" / "v1.json").write_bytes(damage)
    assert "1 videos voted" in vote(runs).stdout
    assert files(runs / "mine") == before


def test_a_missing_fused_file_is_voted_again(runs):
    vote(runs)
    before = files(runs / "mine")
    (runs / "mine" / "videos" / "v10.masks").unlink()
    assert "1 videos voted" in vote(runs).stdout
    assert files(runs / "mine") == before


def test_a_video_that_a_member_lacks_is_named_and_the_rest_done(runs):
    (runs / "c" / "videos" / "v2.masks").unlink()
    result = vote(runs)
    assert result.exit_code == 1
    assert "video v2: missing in c" in result.stderr
    assert MaskRun.open(runs / "mine").videos() == ["v1", "v10"]


def test_a_damaged_member_file_is_named_and_the_rest_done(runs):
    file = runs / "c" / "videos" / "v2.masks"
    file.write_bytes(file.read_bytes()[:-1])
    result = vote(runs)
    assert result.exit_code == 1
    assert str(file) in result.stderr
    assert MaskRun.open(runs / "mine").videos() == ["v1", "v10"]


def test_a_member_of_other_frames_is_named_and_the_rest_done(runs):
    MaskRun.open(runs / "c").write(random_masks("v2", 0, size=(6, 5)))
    result = vote(runs)
    assert result.exit_code == 1
    assert "video v2: member c: size 6x5, but 5x6 in member a" in result.stderr
    assert MaskRun.open(runs / "mine").videos() == ["v1", "v10"]


def test_a_full_disk_ends_the_vote_and_the_same_call_goes_on(runs, monkeypatch):
    with monkeypatch.context() as patch:

        def full(self, masks, made_of, write=MaskRun.write):
            if masks.video == "v2":
                raise OSError(errno.ENOSPC, "No space left on device")
            write(self, masks, made_of)

        patch.setattr(MaskRun, "write", full)
        result = vote(runs)
    assert result.exit_code == 1
    assert "the disk is full" in result.stderr
    done = MaskRun.open(runs / "mine").videos()
    assert "v1" in done
    assert "v2" not in done
    assert f"{3 - len(done)} videos voted, {len(done)} were voted before" in vote(runs).stdout


def test_two_votes_do_not_write_one_run(runs):
    vote(runs)
    with MaskRun.open(runs / "mine").writing():
        result = vote(runs)
    assert result.exit_code == 2
    assert "mine" in result.stderr


def test_a_stage_names_all_members_that_it_lacks(runs):
    result = call("--stage", 1, "--runs", runs)
    assert result.exit_code == 2
    for name in ("soc", "mutr", "referformer", "vit_huge", "convnext"):
        assert str(runs / name) in result.stderr
    assert not (runs / "soc_mutr_referft").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --stage N or --members"),
        (["--stage", 1, "--members", "a"], "either --stage N or --members"),
        (["--stage", 1, "--threshold", 3], "--stage has its own"),
        (["--stage", 3], "stages 1 to 2, not 3"),
        (["--members", "a,b", "--threshold", 2], "needs --threshold and --out"),
        (["--members", "a,b", "--threshold", 5, "--out", "x"], "between 1 and the 4 votes"),
        (["--members", "a,b", "--threshold", 2, "--out", "x", "--leftover", "last"], "`first` or a number"),
        (["--members", "a,b", "--threshold", 2, "--out", "x", "--leftover", 3], "between 1 and the 2 votes"),
        (["--members", "a,b", "--threshold", 2, "--out", "x", "--faithful"], "goes with --stage"),
        (["--stage", 1, "--faithful", "--pairing", "none"], "--pairing consecutive"),
        (["--members", "./b/a,a", "--threshold", 2, "--out", "x"], "have one name; rename a folder"),
        (["--members", "a,nobody", "--threshold", 2, "--out", "x"], "nobody"),
    ],
)
def test_wrong_use_is_explained(runs, monkeypatch, arguments, message):
    monkeypatch.chdir(runs)
    result = call("--runs", runs, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (runs / "x").exists()


# Runs of the recipe and the published mask sets they hold.
MODELS = {name: name for name in ("soc", "mutr", "vit_huge", "convnext")} | {"referformer": "referformer_ft"}
PROPAGATED = {
    "soc_mutr_referft_aot": "aot.soc_mutr_referft",
    "soc_aot": "aot.soc",
    "mutr_aot": "aot.mutr",
    "referformer_aot": "aot.referformer_ft",
    "vit_convnext_soc_deaot": "deaot.vit_convnext_soc",
    "vit_huge_deaot": "deaot.vit-huge",
    "referformer_deaot": "deaot.referformer_ft",
}


@pytest.mark.parametrize("name", sorted(path.name.split(".")[0] for path in GOLDENS.glob("*.manifest.json")))
def test_both_stages_write_the_published_runs(tmp_path, name):
    case = GoldenCase("fusion_core", name, GOLDENS / f"{name}.manifest.json")
    config = case.manifest["config"]

    def unpacked(array, about):
        return np.unpackbits(case.arrays[array], axis=-1)[..., : about["width"]].astype(bool)

    def write(run, masks_of):
        for video, about in config["videos"].items():
            tracks = tuple(masks_of(video, about))
            size = (about["height"], about["width"])
            run.write(VideoMasks(video=video, size=size, frame_names=tuple(about["frames"]), tracks=tracks))

    def of_model(published):
        probabilities = published in config["probability_models"]
        binary = binary_from_probabilities if probabilities else binary_from_logits

        def masks_of(video, about):
            soft, scores = (case.arrays[f"in.{kind}.{published}.{video}"] for kind in ("mask", "score"))
            for id_, masks, score in zip(about["expression_ids"], soft, scores, strict=True):
                support = support_from_probabilities(masks) if probabilities else None
                yield MaskTrack.from_masks(Expression(id=id_), binary(masks), scores=score, support=support)

        return masks_of

    def of_propagator(published):
        def masks_of(video, about):
            bits = unpacked(f"in.prop.{published}.{video}", about)
            for id_, masks in zip(about["expression_ids"], bits, strict=True):
                yield MaskTrack.from_masks(Expression(id=id_), masks)

        return masks_of

    for run, published in MODELS.items():
        write(start(tmp_path / run), of_model(published))
    for run, published in PROPAGATED.items():
        write(start(tmp_path / run), of_propagator(published))
    for stage in (1, 2):
        result = call("--stage", stage, "--runs", tmp_path, "--faithful")
        assert result.exit_code == 0, result.output
    for fused in ("soc_mutr_referft", "vit_convnext_soc", "en2", "final"):
        run = MaskRun.open(tmp_path / fused)
        for video, about in config["videos"].items():
            masks = run.read(video)
            assert list(masks.expression_ids) == about["expression_ids"]
            expected = unpacked(f"out.mask.{fused}.{video}", about)
            assert np.array_equal(np.stack([track.stack() for track in masks.tracks]), expected), (fused, video)
            if f"out.key.{fused}.{video}" in case.arrays:
                keys = case.arrays[f"out.key.{fused}.{video}"].tolist()
                assert [track.key_frame for track in masks.tracks] == keys


def test_json_says_the_same_as_the_table(runs):
    table = vote(runs).stdout
    result = vote(runs, "--json")
    (line,) = result.stdout.splitlines()
    told = json.loads(line)
    assert (told["run"], told["videos"], told["before"], told["failed"]) == (str(runs / "mine"), 0, 3, 0)
    assert [one["name"] for one in told["members"]] == ["a", "b", "c"]
    for one in told["members"]:
        assert f"\n{one['name']} " in table
        assert f"{one['iou']:.3f}" in table


def test_messages_may_be_json_lines_before_and_after_the_command(runs):
    for arguments in (["--log-json", "show", "nowhere"], ["show", "nowhere", "--log-json"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert json.loads(line)["level"] == "error"
        assert "nowhere" in json.loads(line)["message"]
