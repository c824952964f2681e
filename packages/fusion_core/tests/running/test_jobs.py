"""Which videos a job makes again, and which runs it leaves alone."""

import shutil
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from fusion_core.recipe.graph import OWN_WEIGHTS
from fusion_core.recipe.nodes import ExistingRun, Pairing
from fusion_core.recipe.weights import with_weights
from fusion_core.running import jobs
from fusion_core.running.environments import Program, WorkspacePackage, find_program
from fusion_core.running.plan import make_plan
from fusion_core.running.runner import run_plan
from mask_interchange import MaskRun, MaskTrack, RunManifest

PROGRAMS = ("a", "b", "a_p+early_p")


# --- what makes a video be made again -------------------------------------------------------------------------------


def test_a_video_whose_frames_changed_is_made_again_and_no_other(stage):
    stage.carry_out()
    stage.computed()
    frame = stage.root / "JPEGImages" / "v2" / "00001.png"
    frame.write_bytes((stage.root / "JPEGImages" / "v1" / "00001.png").read_bytes())
    before = stage.masks("late", "v2")
    assert stage.carry_out()[0].complete
    assert stage.computed() == {f"{program} v2": 1 for program in PROGRAMS}
    assert (stage.masks("late", "v2") != before).any()


def test_frames_that_were_only_touched_change_nothing(stage):
    stage.carry_out()
    stage.computed()
    for frame in stage.root.rglob("*.png"):
        frame.touch()
    stage.carry_out()
    assert not stage.computed()


@pytest.mark.parametrize("change", ["checkpoint", "options", "weights"])
def test_other_weights_or_settings_make_the_run_and_what_follows_again(stage, tmp_path, change):
    checkpoint = tmp_path / "b.pth"
    checkpoint.write_bytes(b"one")
    recipe = with_weights(stage.recipe(), {"b": checkpoint})
    stage.carry_out(recipe)
    stage.computed()
    a, b, p = recipe.models
    match change:
        case "checkpoint":
            other = tmp_path / "other.pth"  # hashes are remembered for as long as a process lasts
            other.write_bytes(b"two")
            b = replace(b, checkpoint=other)
        case "options":
            b = replace(b, options={"seed": 3})
        case "weights":
            b = replace(b, checkpoint=None, weights="random:7")
    summary, events = stage.carry_out(replace(recipe, models=(a, b, p)))
    assert summary.complete
    again = stage.computed()
    assert {name: again[name] for name in again if name.startswith(("a ", "b "))} == {f"b v{i}": 1 for i in (1, 2, 3)}
    assert ("note", "b", None) in events
    fresh = stage.files()
    assert "b/run.json" in fresh
    assert make_plan(stage.context(replace(recipe, models=(a, b, p)))).missing == 0


def test_weights_that_a_program_brings_itself_are_known_by_what_they_hold(stage, tmp_path, monkeypatch):
    """In a checkout they change without a new version of the package."""

    def carry_out(checkout, content):
        bundled = tmp_path / checkout / "src" / "some" / "demo.safetensors"
        bundled.parent.mkdir(parents=True)
        bundled.write_bytes(content)
        package = WorkspacePackage(folder=tmp_path / checkout, distribution="some", version="1")
        monkeypatch.setattr(jobs, "find_program", lambda command: replace(find_program(command), package=package))
        alone = stage.alone()
        stage.carry_out(replace(alone, models=tuple(replace(m, weights=OWN_WEIGHTS) for m in alone.models)))
        return sum(stage.computed().values())

    monkeypatch.setattr(Program, "make_ready", lambda program, status: None)
    assert [carry_out("first", b"one"), carry_out("copy", b"one"), carry_out("trained", b"two")] == [3, 0, 3]


def test_a_moved_checkpoint_is_the_same_checkpoint(stage, tmp_path):
    for name in ("one.pth", "two.pth"):
        (tmp_path / name).write_bytes(b"same")
    stage.carry_out(with_weights(stage.recipe(), {"a": tmp_path / "one.pth"}))
    stage.computed()
    stage.carry_out(with_weights(stage.recipe(), {"a": tmp_path / "two.pth"}))
    assert not stage.computed()


def test_another_rule_is_voted_again_and_models_are_not_run_for_it(stage):
    stage.carry_out()
    stage.computed()
    recipe = stage.recipe()
    nodes = tuple(replace(node, pairing=Pairing.NONE) if node.name == "late" else node for node in recipe.nodes)
    summary, events = stage.carry_out(replace(recipe, nodes=nodes))
    assert summary.complete
    assert not stage.computed()
    assert ("note", "late", None) in events
    votes = sum(stage.masks(member) for member in ("early_p", "a_p", "b"))
    np.testing.assert_array_equal(stage.masks("late"), votes >= 2)


def faithful(recipe, **changes):
    """A faithful recipe whose first vote is changed."""
    nodes = tuple(replace(node, **changes) if node.name == "early" else node for node in recipe.nodes)
    return replace(recipe, nodes=nodes, faithful=True)


def test_another_treatment_of_the_leftover_is_voted_again(stage, tmp_path):
    """Version 0.1.0 kept the stale vote and said that nothing was missing."""
    recipe = stage.recipe(a=("--support",))
    stage.carry_out(faithful(recipe, leftover_takes_support=True))
    before = stage.masks("early", expression="2")
    changed = faithful(recipe, leftover_takes_support=False)
    assert make_plan(stage.context(changed)).missing
    summary, events = stage.carry_out(changed)
    assert summary.complete
    assert ("note", "early", None) in events
    fresh = type(stage)(tmp_path / "fresh")
    fresh.carry_out(faithful(fresh.recipe(a=("--support",)), leftover_takes_support=False))
    after = stage.masks("early", expression="2")
    np.testing.assert_array_equal(after, fresh.masks("early", expression="2"))
    assert before.all()
    assert not after.all()


def test_the_published_mistake_has_no_effect_unless_the_recipe_is_faithful(stage):
    recipe = stage.recipe(a=("--support",))
    stage.carry_out(replace(faithful(recipe, leftover_takes_support=True), faithful=False))
    assert make_plan(stage.context(recipe)).missing == 0


def test_the_records_may_be_lost(stage):
    """Those of whole runs; what each video was made from stands in its run."""
    stage.carry_out()
    stage.computed()
    for path in sorted((stage.runs / ".recipe").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert stage.carry_out()[0].complete
    assert not stage.computed()


def test_a_damaged_record_only_costs_work(stage, undisturbed):
    stage.carry_out()
    (stage.runs / "b" / "records" / "v1.json").write_bytes(b"{")
    (stage.runs / "late" / "votes" / "v1.json").write_bytes(b"\xff")
    assert stage.carry_out()[0].complete
    assert stage.files() == undisturbed


# --- runs of others -------------------------------------------------------------------------------------------------


def test_a_run_that_was_made_by_hand_is_continued(stage, undisturbed):
    stage.carry_out(stage.alone())
    (stage.runs / "a" / "videos" / "v2.masks").unlink()
    stage.computed()
    for path in sorted((stage.runs / ".recipe").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert stage.carry_out()[0].complete
    again = stage.computed()
    assert [name for name in again if name.startswith("a ")] == ["a v2"]
    assert stage.files() == undisturbed


def test_an_empty_run_of_other_settings_is_replaced(stage, undisturbed):
    """As a try leaves it that failed before the first video, whoever began it."""
    for run in ("a", "early"):
        manifest = RunManifest(producer="other", producer_version="9", dataset=stage.context().dataset.identity)
        MaskRun.create(stage.runs / run, manifest)
    assert stage.carry_out()[0].complete
    assert stage.files() == undisturbed


def test_another_data_set_is_told_in_words(stage):
    stage.carry_out(stage.alone())
    meta = stage.root / "meta_expressions.json"
    meta.write_text(meta.read_text().replace("thing 2", "what a thing"))
    (note,) = [node.note for node in make_plan(stage.context(stage.alone())).nodes]
    assert note == "recomputing because the sentences differ: number 3 was thing 2, is what a thing in video 'v1'"


def test_a_run_of_somebody_else_is_never_removed(stage):
    stage.carry_out()
    for path in sorted((stage.runs / ".recipe").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    before = stage.files()
    recipe = with_weights(stage.recipe(), {})
    a, b, p = recipe.models
    recipe = replace(recipe, models=(replace(a, weights="random:5"), b, p))
    summary, _ = stage.carry_out(recipe)
    assert not summary.complete
    assert "which this command has not made" in summary.given_up["a"]
    assert "weights: was random:0, is random:5" in summary.given_up["a"]
    after = stage.files()
    assert {name: after[name] for name in before if name.startswith("a/")} == {
        name: before[name] for name in before if name.startswith("a/")
    }
    assert summary.blocked["early"] == ("v1", "v2", "v3")
    # Adopted once, it is still not this command's to remove.
    stage.carry_out()
    summary, _ = stage.carry_out(recipe)
    assert "has not made" in summary.given_up["a"]


def test_an_existing_run_is_a_member(stage, tmp_path):
    stage.carry_out()
    elsewhere = tmp_path / "elsewhere"
    (stage.runs / "b").rename(elsewhere)
    stage.computed()
    recipe = stage.recipe()
    nodes = tuple(ExistingRun(name="b", path=elsewhere) if node.name == "b" else node for node in recipe.nodes)
    assert stage.carry_out(replace(recipe, nodes=nodes))[0].complete
    assert not stage.computed()
    (elsewhere / "videos" / "v2.masks").unlink()
    lacking = replace(recipe, nodes=nodes)
    assert "no masks of v2" in next(
        look.note for look in make_plan(stage.context(lacking)).nodes if look.node.name == "b"
    )
    (stage.runs / "early" / "votes" / "v2.json").unlink()
    summary, _ = stage.carry_out(lacking)
    assert summary.given_up == {"b": "the run has no masks of v2, and nothing here can make them"}
    assert summary.blocked["early"] == ("v2",)
    missing = tuple(ExistingRun(name="b", path=tmp_path / "nowhere") if n.name == "b" else n for n in recipe.nodes)
    with pytest.raises(Exception, match="nowhere: not a run"):
        stage.carry_out(replace(recipe, nodes=missing))


def test_masks_that_nobody_recorded_are_made_again(stage, undisturbed):
    """What counts is written with its record: a file that appears without one may hold anything."""
    stage.carry_out()
    stage.computed()
    run = MaskRun.open(stage.runs / "b")
    run.write(replace(run.read("v1"), video="v2"))
    assert stage.carry_out()[0].complete
    assert stage.computed() == {"b v2": 1}
    assert stage.files() == undisturbed


def test_a_worker_of_an_earlier_call_is_waited_for(stage, undisturbed):
    stage.carry_out(stage.alone())
    writer = ExitStack()
    writer.enter_context(MaskRun.open(stage.runs / "a").writing(shared=True))
    told = []

    def listen(event):
        if event.kind == "note":
            told.append(event.error)
            writer.close()

    assert run_plan(make_plan(stage.context()), listener=listen).complete
    assert told == [f"waiting for another process that writes {stage.runs / 'a'}"]
    assert stage.files() == undisturbed


def test_a_writer_that_does_not_end_is_told(stage, monkeypatch):
    stage.carry_out(stage.alone())
    monkeypatch.setattr(jobs, "WRITERS_PATIENCE", 0.3)
    with MaskRun.open(stage.runs / "a").writing(shared=True):
        summary, _ = stage.carry_out()
    assert "another process is writing here" in summary.given_up["a"]


def test_a_run_made_by_hand_without_records_is_left_alone(stage):
    stage.carry_out(stage.alone())
    shutil.rmtree(stage.runs / ".recipe")
    shutil.rmtree(stage.runs / "a" / "records")
    before = stage.files()
    summary, _ = stage.carry_out()
    assert "nothing records what its masks of v1, v2, v3 were made from" in summary.given_up["a"]
    assert "name it in a recipe of your own as an existing run" in summary.given_up["a"]
    assert {name: stage.files()[name] for name in before} == before


def test_frames_that_change_while_a_video_is_made_are_noticed(stage):
    frame = stage.root / "JPEGImages" / "v1" / "00001.png"
    events = []

    def change(event):
        events.append(event)
        if event.kind == "progress" and event.job == "a" and event.video == "v1":
            frame.write_bytes((stage.root / "JPEGImages" / "v3" / "00001.png").read_bytes())

    summary = run_plan(make_plan(stage.context(stage.alone("--pause", "0.5"))), listener=change)
    (failure,) = summary.failures
    assert (failure.video, failure.error) == (
        "v1",
        "its frames or source masks have changed since this command began; the same command makes it again",
    )
    assert stage.carry_out(stage.alone("--pause", "0.5"))[0].complete


def test_a_member_of_another_size_is_named(stage, tmp_path):
    recipe = stage.recipe()
    stage.carry_out(recipe)
    run = MaskRun.open((stage.runs / "b").rename(tmp_path / "elsewhere"))
    video = run.read("v2")
    tracks = tuple(MaskTrack.from_masks(t.expression, np.zeros((2, 5, 7), bool), scores=t.scores) for t in video.tracks)
    run.write(replace(video, size=(5, 7), tracks=tracks))
    nodes = tuple(ExistingRun(name="b", path=run.path) if node.name == "b" else node for node in recipe.nodes)
    summary, _ = stage.carry_out(replace(recipe, nodes=nodes))
    (failure, *_) = summary.failures
    assert (failure.job, failure.video) == ("early", "v2")
    assert "member b: size 5x7, but 8x12 in member a" in failure.error
    assert MaskRun.open(stage.runs / "late").has("v1")
