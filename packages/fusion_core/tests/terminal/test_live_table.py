"""What people see while a recipe is carried out."""

import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fusion_core.recipe.nodes import Predict
from fusion_core.running.events import Event, EventKind
from fusion_core.running.plan import NodePlan, make_plan
from fusion_core.terminal.live_table import Lines, LiveTable, print_json
from rich.console import Console

VIDEOS = ("v1", "v2", "v3", "v4")


@pytest.fixture
def plan(stage):
    """Of four videos; makes a plan of runs with these names."""

    def made(*names, seconds=None):
        nodes = tuple(
            NodePlan(node=Predict(name=name, model="m"), done=(), missing=VIDEOS, frames=8, seconds=seconds)
            for name in names or ("a",)
        )
        return replace(make_plan(stage.context(stage.alone())), nodes=nodes, videos=dict.fromkeys(VIDEOS, 2))

    return made


def event(kind, job="a", runs=("a",), **details):
    return Event(kind=EventKind(kind), job=job, runs=runs, **details)


def shown(table):
    console = Console(file=io.StringIO(), width=100)
    console.print(table.draw())
    return console.file.getvalue()


def test_a_row_shows_what_is_done_and_left(plan):
    table = LiveTable(plan())
    table(event("ready", done=1, total=4))
    table(event("started", video="v2"))
    table(event("done", video="v2", seconds=30.0))
    table(event("started", video="v3"))
    table(event("progress", video="v3", done=5, total=9))
    text = shown(table)
    for part in ("a", "2/4", "30.0", "0:43", "v3 5/9"):
        assert part in text
    table(event("failed", video="v3", error="bad"))
    assert "2/4, 1 failed" in shown(table)
    table(event("given up", error="no weights\nand more"))
    assert "no weights" in shown(table)
    assert "and more" not in shown(table)


def test_the_first_frames_tell_what_is_left(plan, monkeypatch):
    clock = iter([100.0, 106.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    table = LiveTable(plan())
    table(event("ready", done=0, total=4))
    table(event("started", video="v1"))
    table(event("progress", video="v1", done=0, total=10))
    table(event("progress", video="v1", done=3, total=10))  # 20 s a video, 3.7 to do
    assert "1:14" in shown(table)


def test_an_installation_is_seen_until_the_program_is_at_work(plan):
    table = LiveTable(plan())
    table(event("ready", done=0, total=4))
    table(event("preparing", error="Downloading torch"))
    assert "Downloading torch" in shown(table)
    table(event("started", video="v1"))
    assert "Downloading torch" not in shown(table)


def test_before_anything_is_done_the_plan_tells_what_is_left(plan):
    table = LiveTable(plan(seconds=3725.0))
    table(event("ready", done=0, total=4))
    assert "1:02:05" in shown(table)


def test_lines_tell_each_video_once(capsys):
    lines = Lines()
    for one in (
        event("ready", done=1, total=3),
        event("preparing", error="Downloading torch"),
        event("started", video="v2"),
        event("progress", video="v2", done=1, total=2),
        event("done", video="v2", seconds=1.25),
        event("ready", done=2, total=3),
        event("retried", video="v3", error="killed\nlog"),
        event("failed", video="v3", error="bad"),
        event("note", error="recomputing because a member has changed"),
    ):
        lines(one)
    assert capsys.readouterr().err.splitlines() == [
        "a: 1 of 3 videos are done already",
        "a: Downloading torch",
        "a [2/3] v2: done in 1.2 s",
        "a v3: another worker tries: killed",
        "a v3: failed",
        "a: recomputing because a member has changed",
    ]


def test_runs_of_one_job_are_counted_by_the_event_and_not_by_its_name(plan):
    """A run may be called `c + d` itself."""
    table = LiveTable(plan("a", "c + d", seconds=30.0))
    table(event("started", "a + c + d", ("a", "c + d"), video="v1"))
    assert "1:00" in shown(table)
    table(event("ready", "c + d", ("c + d",), done=1, total=4))
    assert "1/4" in shown(table)


def test_json_lines_have_the_words_of_the_documentation(capsys):
    print_json(event("given up", "a + b", ("a", "b"), error="no weights"))
    print_json(event("ready", done=0, total=4))
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"event": "given up", "job": "a + b", "runs": ["a", "b"], "error": "no weights"},
        {"event": "ready", "job": "a", "runs": ["a"], "done": 0, "total": 4},
    ]
    documented = (Path(__file__).parents[4] / "docs" / "recipe.md").read_text(encoding="utf-8")
    assert all(f"`{kind}`" in documented for kind in EventKind)
