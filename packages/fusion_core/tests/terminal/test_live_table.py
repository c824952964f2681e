"""What people see while a recipe is carried out."""

import io

import pytest
from fusion_core.recipe.graph import Predict
from fusion_core.running.plan import NodePlan, Plan
from fusion_core.running.scheduler import Event
from fusion_core.terminal.live_table import Lines, LiveTable, duration
from rich.console import Console

VIDEOS = ("v1", "v2", "v3", "v4")


def a_plan(seconds=None):
    node = NodePlan(node=Predict(name="a", model="m"), done=(), missing=VIDEOS, frames=8, seconds=seconds)
    return Plan(nodes=(node,), videos=VIDEOS)


def shown(table):
    console = Console(file=io.StringIO(), width=100)
    console.print(table.draw())
    return console.file.getvalue()


def test_a_row_shows_what_is_done_and_left():
    table = LiveTable(a_plan())
    table(Event(event="ready", job="a", done=1, total=4))
    table(Event(event="started", job="a", video="v2"))
    table(Event(event="done", job="a", video="v2", seconds=30.0))
    table(Event(event="started", job="a", video="v3"))
    table(Event(event="progress", job="a", video="v3", done=5, total=9))
    text = shown(table)
    for part in ("a", "2/4", "30.0", "1:00", "v3 5/9"):
        assert part in text
    table(Event(event="failed", job="a", video="v3", error="bad"))
    assert "2/4, 1 failed" in shown(table)
    table(Event(event="given up", job="a", error="no weights\nand more"))
    assert "no weights" in shown(table)
    assert "and more" not in shown(table)


def test_an_installation_is_seen_until_the_program_is_at_work():
    table = LiveTable(a_plan())
    table(Event(event="ready", job="a", done=0, total=4))
    table(Event(event="preparing", job="a", error="Downloading torch"))
    assert "Downloading torch" in shown(table)
    table(Event(event="started", job="a", video="v1"))
    assert "Downloading torch" not in shown(table)


def test_before_anything_is_done_the_plan_tells_what_is_left():
    table = LiveTable(a_plan(seconds=3725.0))
    table(Event(event="ready", job="a", done=0, total=4))
    assert "1:02:05" in shown(table)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (310, "5:10"), (7510, "2:05:10")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_lines_tell_each_video_once(capsys):
    lines = Lines()
    for event in (
        Event(event="ready", job="a", done=1, total=3),
        Event(event="preparing", job="a", error="Downloading torch"),
        Event(event="started", job="a", video="v2"),
        Event(event="progress", job="a", video="v2", done=1, total=2),
        Event(event="done", job="a", video="v2", seconds=1.25),
        Event(event="ready", job="a", done=2, total=3),
        Event(event="retried", job="a", video="v3", error="killed\nlog"),
        Event(event="failed", job="a", video="v3", error="bad"),
        Event(event="note", job="a", error="made anew"),
    ):
        lines(event)
    assert capsys.readouterr().err.splitlines() == [
        "a: 1 of 3 videos are there already",
        "a: Downloading torch",
        "a [2/3] v2: done in 1.2 s",
        "a v3: another worker tries: killed",
        "a v3: failed",
        "a: made anew",
    ]
