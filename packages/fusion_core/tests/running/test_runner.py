"""A recipe is carried out by real processes of a program that only acts."""

import json
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
from fusion_core.errors import FusionCoreError, RecipeError
from fusion_core.recipe.graph import Model, Recipe
from fusion_core.recipe.nodes import Predict
from fusion_core.running import jobs, plan
from fusion_core.running.context import RunContext, VideoSource
from fusion_core.running.executors.local import LocalExecutor
from fusion_core.running.plan import make_plan
from fusion_core.running.provenance import ProvenanceStore
from fusion_core.running.runner import run_plan
from fusion_core.running.worker import MAX_ERROR, ProgramWorker, VideoError, WorkerLostError
from mask_interchange import MaskRun

PROGRAMS = ("a", "b", "a_p+early_p")
ALL = {f"{program} v{i}": 1 for program in PROGRAMS for i in (1, 2, 3)}


def test_every_run_is_made_from_those_it_names(stage):
    summary, events = stage.carry_out()
    assert summary.complete
    assert summary.result == stage.runs / "late"
    assert stage.computed() == ALL
    votes = sum(stage.masks(member, expression=e) for member in ("a", "b") for e in "01")
    np.testing.assert_array_equal(stage.masks("early"), votes >= 2)
    key = MaskRun.open(stage.runs / "early").read("v1").track("0").key_frame
    np.testing.assert_array_equal(stage.masks("early_p")[key], stage.masks("early")[key])
    single = sum(stage.masks(member, expression="2") for member in ("early_p", "a_p", "b"))
    np.testing.assert_array_equal(stage.masks("late", expression="2"), single >= 2)
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


def test_jobs_are_built_once(stage, monkeypatch):
    built = []

    def make_jobs(context):
        built.append(jobs.make_jobs(context))
        return built[-1]

    monkeypatch.setattr(plan, "make_jobs", make_jobs)
    assert stage.carry_out()[0].complete
    assert len(built) == 1


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


@pytest.mark.parametrize("misbehaviour", ["--stop-once", "--hang-once"])
def test_a_worker_without_a_sign_of_life_is_replaced_and_its_video_tried_again(stage, misbehaviour):
    context = replace(stage.context(stage.alone(misbehaviour, "v2")), stall=3)
    events = []
    assert run_plan(make_plan(context), listener=events.append).complete
    assert [event.video for event in events if event.kind == "done"] == ["v1", "v2", "v3"]
    (retried,) = [event for event in events if event.kind == "retried"]
    assert retried.video == "v2"
    assert "gave no sign of life for 3 s, and was ended (--stall)" in retried.error


def test_whatever_a_worker_says_is_a_sign_of_life(tmp_path):
    """Older programs do not say that they are alive; and a computation may be long."""
    program = tmp_path / "slow.py"
    program.write_text(
        "import json, sys, time\n"
        "for line in sys.stdin:\n"
        "    for i in range(8):\n"
        "        time.sleep(0.5)\n"
        "        alive = {'event': 'alive', 'processor_seconds': float(i)}\n"
        "        said = alive if i % 2 else {'event': 'progress', 'done': i, 'total': 8}\n"
        "        print(json.dumps(said | {'video': line.strip()}), flush=True)\n"
        "    print(json.dumps({'event': 'done', 'video': line.strip()}), flush=True)\n"
    )
    worker = ProgramWorker([sys.executable, str(program)], tmp_path / "log.txt", {}, stall=3)
    heard = []
    worker.process("v1", lambda done, total: heard.append((done, total)))
    assert heard == [(0, 8), (2, 8), (4, 8), (6, 8)]
    worker.close()


def test_a_long_failure_is_cut(tmp_path):
    said = json.dumps({"event": "failed", "video": "dog", "error": "no\0 room " + 900_000 * "x"})
    (tmp_path / "line").write_text(said + "\n")
    worker = ProgramWorker(["sh", "-c", f"cat {tmp_path / 'line'}; cat"], tmp_path / "log.txt", {})
    with pytest.raises(VideoError) as caught:
        worker.process("dog", lambda done, total: None)
    assert str(caught.value).startswith("no room xxx")
    assert len(str(caught.value)) <= MAX_ERROR
    worker.close()


def test_a_signal_without_a_name_is_told_by_its_number(tmp_path):
    worker = ProgramWorker(["sh", "-c", "kill -40 $$"], tmp_path / "log.txt", {})
    with pytest.raises(WorkerLostError, match="was killed by signal 40 in the middle of the video"):
        worker.process("dog", lambda done, total: None)
    worker.close()


def test_a_worker_is_ended_with_those_that_it_started(tmp_path):
    """As where the command line is that of a shell or of uv, and the program is its child."""
    program = tmp_path / "parent.py"
    program.write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "child.wait()\n"
    )
    worker = ProgramWorker([sys.executable, str(program)], tmp_path / "log.txt", {}, stall=2)
    with pytest.raises(WorkerLostError, match="no sign of life for 2 s"):
        worker.process("v1", lambda done, total: None)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 20
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


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


ALIVE = '{"event": "alive", "video": "v1", "processor_seconds": %s}'


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        '{"event": "progress", "video": "v1", "done": null, "total": 2}',
        *(ALIVE % number for number in ("NaN", "Infinity", "1e999", "9" * 400)),
    ],
)
def test_a_program_that_breaks_the_protocol_is_named(stage, line):
    summary, _ = stage.carry_out(stage.alone("--babble", "v1", "--line", line))
    (failure,) = summary.failures
    assert f"expected a line of the worker protocol about video 'v1', found {line:.200}" in failure.error


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


def test_a_data_set_without_expressions_is_an_error(stage):
    (stage.root / "meta_expressions.json").write_text('{"videos": {"v1": {"frames": ["00000"], "expressions": {}}}}')
    with pytest.raises(RecipeError, match="no video has an expression"):
        stage.carry_out()


def test_one_video_with_expressions_goes_through_the_whole_recipe(stage):
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
