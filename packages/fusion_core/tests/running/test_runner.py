"""A recipe is carried out by real processes of a program that only acts."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from fusion_core.errors import FusionCoreError, RecipeError
from fusion_core.recipe.graph import OWN_WEIGHTS, ExistingRun, Model, Pairing, Predict, Recipe
from fusion_core.recipe.weights import with_weights
from fusion_core.running import jobs, plan
from fusion_core.running.context import RunContext, VideoSource
from fusion_core.running.environments import Program, WorkspacePackage, find_program
from fusion_core.running.executors.local import LocalExecutor
from fusion_core.running.plan import make_plan
from fusion_core.running.provenance import ProvenanceStore
from fusion_core.running.runner import run_plan
from mask_interchange import MaskRun, MaskTrack

PROGRAMS = ("a", "b", "a_p+early_p")
ALL = {f"{program} v{i}": 1 for program in PROGRAMS for i in (1, 2, 3)}


def masks(stage, run, video="v1", expression="0"):
    return MaskRun.open(stage.runs / run).read(video).track(expression).stack().astype(int)


def test_every_run_is_made_from_those_it_names(stage):
    summary, events = stage.carry_out()
    assert summary.complete
    assert summary.result == stage.runs / "late"
    assert stage.computed() == ALL
    votes = sum(masks(stage, member, expression=e) for member in ("a", "b") for e in "01")
    np.testing.assert_array_equal(masks(stage, "early"), votes >= 2)
    key = MaskRun.open(stage.runs / "early").read("v1").track("0").key_frame
    np.testing.assert_array_equal(masks(stage, "early_p")[key], masks(stage, "early")[key])
    single = sum(masks(stage, member, expression="2") for member in ("early_p", "a_p", "b"))
    np.testing.assert_array_equal(masks(stage, "late", expression="2"), single >= 2)
    assert [e for e in events if e[1] == "a" and e[2] == "v1"] == [
        ("started", "a", "v1"),
        ("progress", "a", "v1"),
        ("done", "a", "v1"),
    ]


def test_the_same_again_computes_nothing(stage):
    stage.carry_out()
    before = stage.files()
    times = {path: path.stat().st_mtime_ns for path in stage.runs.rglob("*.masks")}
    stage.computed()
    summary, events = stage.carry_out()
    assert summary.complete
    assert not stage.computed()
    assert {event for event, _, _ in events} == {"ready"}
    assert stage.files() == before
    assert times == {path: path.stat().st_mtime_ns for path in stage.runs.rglob("*.masks")}


def test_a_model_is_loaded_once_for_all_videos(stage):
    stage.carry_out()
    started = [line for line in stage.log.read_text().splitlines() if line.startswith("started")]
    assert len(started) == len(PROGRAMS)


def test_several_workers_share_the_videos_and_make_the_same(stage, undisturbed):
    summary, _ = stage.carry_out(executor=LocalExecutor(workers=3))
    assert summary.complete
    assert stage.computed() == ALL
    assert stage.files() == undisturbed


def test_every_gpu_gets_a_worker(stage, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    executor = LocalExecutor()
    assert executor.slots == 2
    stage.carry_out(stage.recipe(a=("--pause", "0.3")), executor=executor)
    seen = {line.split()[1] for line in stage.log.read_text().splitlines() if line.startswith("started")}
    assert seen == {"4", "6"}
    assert LocalExecutor(device="cpu").slots == 1
    assert LocalExecutor(workers=5).slots == 5


def test_memory_limits_how_many_work_at_a_time():
    executor = LocalExecutor(workers=10**6, memory=1.0)
    assert 1 <= executor.slots < 10**6
    assert executor.limited_by_memory
    assert LocalExecutor(workers=2, memory=10.0**9).slots == 1


# --- what makes a video be made again -------------------------------------------------------------------------------


def test_a_video_whose_frames_changed_is_made_again_and_no_other(stage):
    stage.carry_out()
    stage.computed()
    frame = stage.root / "JPEGImages" / "v2" / "00001.png"
    frame.write_bytes((stage.root / "JPEGImages" / "v1" / "00001.png").read_bytes())
    before = masks(stage, "late", "v2")
    assert stage.carry_out()[0].complete
    assert stage.computed() == {f"{program} v2": 1 for program in PROGRAMS}
    assert (masks(stage, "late", "v2") != before).any()


def test_frames_that_were_only_touched_change_nothing(stage):
    stage.carry_out()
    stage.computed()
    for frame in stage.root.rglob("*.png"):
        frame.touch()
    stage.carry_out()
    assert not stage.computed()


@pytest.mark.parametrize("change", ["checkpoint", "options", "weights"])
def test_other_weights_or_settings_make_the_run_and_what_follows_anew(stage, tmp_path, change):
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
        shipped = tmp_path / checkout / "src" / "some" / "demo.safetensors"
        shipped.parent.mkdir(parents=True)
        shipped.write_bytes(content)
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


def test_another_rule_is_voted_anew_and_models_are_not_run_for_it(stage):
    stage.carry_out()
    stage.computed()
    recipe = stage.recipe()
    nodes = tuple(replace(node, pairing=Pairing.NONE) if node.name == "late" else node for node in recipe.nodes)
    summary, events = stage.carry_out(replace(recipe, nodes=nodes))
    assert summary.complete
    assert not stage.computed()
    assert ("note", "late", None) in events
    votes = sum(masks(stage, member) for member in ("early_p", "a_p", "b"))
    np.testing.assert_array_equal(masks(stage, "late"), votes >= 2)


def faithful(recipe, **changes):
    """A faithful recipe whose first vote is changed."""
    nodes = tuple(replace(node, **changes) if node.name == "early" else node for node in recipe.nodes)
    return replace(recipe, nodes=nodes, faithful=True)


def test_another_treatment_of_the_leftover_is_voted_again(stage, tmp_path):
    """Version 0.1.0 kept the stale vote and said that nothing was missing."""
    recipe = stage.recipe(a=("--support",))
    stage.carry_out(faithful(recipe, leftover_takes_support=True))
    before = masks(stage, "early", expression="2")
    changed = faithful(recipe, leftover_takes_support=False)
    assert make_plan(stage.context(changed)).missing
    summary, events = stage.carry_out(changed)
    assert summary.complete
    assert ("note", "early", None) in events
    fresh = type(stage)(tmp_path / "fresh")
    fresh.carry_out(faithful(fresh.recipe(a=("--support",)), leftover_takes_support=False))
    after = masks(stage, "early", expression="2")
    np.testing.assert_array_equal(after, masks(fresh, "early", expression="2"))
    assert before.all()
    assert not after.all()


def test_the_published_mistake_has_no_effect_unless_the_recipe_is_faithful(stage):
    recipe = stage.recipe(a=("--support",))
    stage.carry_out(replace(faithful(recipe, leftover_takes_support=True), faithful=False))
    assert make_plan(stage.context(recipe)).missing == 0


def test_jobs_are_built_once(stage, monkeypatch):
    built = []

    def make_jobs(context):
        built.append(jobs.make_jobs(context))
        return built[-1]

    monkeypatch.setattr(plan, "make_jobs", make_jobs)
    assert stage.carry_out()[0].complete
    assert len(built) == 1


def test_the_records_may_be_lost(stage):
    """Then runs are taken as they are."""
    stage.carry_out()
    stage.computed()
    for path in sorted((stage.runs / ".recipe").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert stage.carry_out()[0].complete
    assert not stage.computed()


def test_a_damaged_record_only_costs_work(stage, undisturbed):
    stage.carry_out()
    store = ProvenanceStore(stage.runs)
    (store.root / "b" / "videos" / "v1.json").write_bytes(b"{")
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
    assert "weights was 'random:0' and is now 'random:5'" in summary.given_up["a"]
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


def test_a_member_of_another_size_is_named(stage):
    stage.carry_out()
    stage.computed()
    run = MaskRun.open(stage.runs / "b")
    video = run.read("v2")
    tracks = tuple(MaskTrack.from_masks(t.expression, np.zeros((2, 5, 7), bool), scores=t.scores) for t in video.tracks)
    run.write(replace(video, size=(5, 7), tracks=tracks))
    summary, _ = stage.carry_out()
    (failure, *_) = summary.failures
    assert (failure.job, failure.video) == ("early", "v2")
    assert "member b: size 5x7, but 8x12 in member a" in failure.error
    assert MaskRun.open(stage.runs / "late").has("v1")


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_video_that_a_program_cannot_do_costs_only_that_video(stage):
    summary, _ = stage.carry_out(stage.recipe(a=("--fail", "v2")))
    (failure,) = summary.failures
    assert (failure.job, failure.video, failure.error) == ("a", "v2", "video v2: cannot, as asked")
    assert failure.command[-2:] == ["--videos", "v2"]
    assert summary.blocked == {"early": ("v2",), "a_p + early_p": ("v2",), "late": ("v2",)}
    assert MaskRun.open(stage.runs / "late").videos() == ["v1", "v3"]


def test_what_failed_is_tried_again_by_the_same_command(stage, undisturbed):
    frame = stage.root / "JPEGImages" / "v3" / "00000.png"
    kept = frame.read_bytes()
    frame.unlink()
    summary, _ = stage.carry_out()
    assert [failure.video for failure in summary.failures] == ["v3"] * len(summary.failures)
    frame.write_bytes(kept)
    assert stage.carry_out()[0].complete
    assert stage.files() == undisturbed


def test_a_lost_worker_is_replaced_and_its_video_tried_again(stage):
    summary, events = stage.carry_out(stage.alone("--crash-once", "v2"))
    assert summary.complete
    assert [event for event in events if event[1:] == ("a", "v2")] == [
        ("started", "a", "v2"),
        ("retried", "a", "v2"),
        ("started", "a", "v2"),
        ("progress", "a", "v2"),
        ("done", "a", "v2"),
    ]


def test_a_video_that_kills_the_program_is_given_up_after_two_workers(stage):
    summary, events = stage.carry_out(stage.alone("--crash", "v1"))
    (failure,) = summary.failures
    assert (failure.job, failure.video) == ("a", "v1")
    assert "was killed by SIGKILL in the middle of the video" in failure.error
    assert "something terrible" in failure.error
    assert events.count(("started", "a", "v1")) == 2
    assert MaskRun.open(stage.runs / "a").videos() == ["v2", "v3"]


def test_a_program_that_never_works_is_not_started_for_every_video(stage):
    summary, events = stage.carry_out(stage.alone("--crash", "v1,v2,v3"))
    assert "given up after 4 workers were lost" in summary.given_up["a"]
    assert len([event for event in events if event[0] == "started"]) == 4


@pytest.mark.parametrize(
    ("misbehaviour", "message"),
    [
        (("--refuse",), "acting: error: refused, as asked"),
        (("--disk-full", "v1"), "the disk is full"),
        (("--unknown",), "unrecognized arguments: --unknown"),
    ],
)
def test_a_program_that_refuses_is_given_up_at_once(stage, misbehaviour, message):
    summary, events = stage.carry_out(stage.recipe(a=misbehaviour))
    assert message in summary.given_up["a"]
    assert len([event for event in events if event[0] == "started" and event[1] == "a"]) <= 2
    assert summary.blocked["late"] == ("v1", "v2", "v3")
    assert MaskRun.open(stage.runs / "b").videos() == ["v1", "v2", "v3"]


@pytest.mark.parametrize("line", ["hello", '{"event": "progress", "video": "v1", "done": null, "total": 2}'])
def test_a_program_that_breaks_the_protocol_is_named(stage, line):
    summary, _ = stage.carry_out(stage.alone("--babble", "v1", "--line", line))
    (failure,) = summary.failures
    assert f"expected a line of the worker protocol about video 'v1', found {line}" in failure.error


def test_a_program_that_lies_is_found_out(stage):
    summary, _ = stage.carry_out(stage.alone("--lie", "v3"))
    (failure,) = summary.failures
    assert (failure.video, failure.error) == ("v3", "the program says that it is done, but its masks are not there")


def test_a_program_that_is_not_there_is_named(stage):
    recipe = stage.alone()
    nowhere = replace(recipe.models[0], program=("no-such-program",))
    summary, _ = stage.carry_out(replace(recipe, models=(nowhere,)))
    assert "no program 'no-such-program' on the PATH" in summary.given_up["a"]


def test_models_without_weights_are_named_before_anything_is_done(stage):
    recipe = stage.recipe()
    bare = replace(recipe, models=tuple(replace(model, weights=None) for model in recipe.models))
    with pytest.raises(RecipeError, match="no weights for a, b, p: give --checkpoint a=PATH"):
        stage.carry_out(bare)
    assert not stage.computed()


def test_two_processes_do_not_work_on_the_same_runs(stage):
    with (
        ProvenanceStore(stage.runs).working(),
        pytest.raises(FusionCoreError, match="another process works on these runs"),
    ):
        stage.carry_out()


def test_a_data_set_without_sentences_is_an_error(stage):
    (stage.root / "meta_expressions.json").write_text('{"videos": {"v1": {"frames": ["00000"], "expressions": {}}}}')
    with pytest.raises(RecipeError, match="no video has an expression"):
        stage.carry_out()


def test_one_video_with_sentences_goes_through_the_whole_recipe(stage):
    source = VideoSource(path=stage.root / "JPEGImages" / "v1", expressions=["the first", "--the second"])
    summary = run_plan(make_plan(RunContext.open(stage.recipe(), source, stage.runs)))
    assert summary.complete, summary
    (video,) = MaskRun.open(summary.result).videos()
    found = MaskRun.open(summary.result).read(video)
    assert [track.expression.text for track in found.tracks] == ["the first", "--the second"]


def test_speeds_are_kept_for_estimates(stage):
    context = stage.context()
    assert make_plan(context).seconds is None
    stage.carry_out()
    speeds = ProvenanceStore(stage.runs).speeds()
    assert {name: speed.frames for name, speed in speeds.items()} == {"a": 6, "b": 6, "p": 12, "votes": 12}
    (stage.runs / "b" / "videos" / "v1.masks").unlink()
    look = {node.node.name: node for node in make_plan(stage.context()).nodes}
    assert look["b"].missing == ("v1",)
    assert look["b"].frames == 2
    assert look["b"].seconds == pytest.approx(2 * speeds["b"].seconds / 6)
    assert look["early"].missing == ("v1",)


def test_a_recipe_of_one_node_needs_nothing_else(stage):
    model = Model(name="a", program=(sys.executable, stage.recipe().models[0].program[1]), weights="own")
    recipe = Recipe(name="one", result="a", models=(model,), nodes=(Predict(name="a", model="a"),))
    assert stage.carry_out(recipe)[0].complete
