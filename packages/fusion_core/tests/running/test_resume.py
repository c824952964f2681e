"""A run that was killed at any moment goes on, computes nothing twice, and ends with the bytes of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from fusion_core.running.plan import make_plan

COMMAND = [sys.executable, "-c", "from fusion_core.cli import main; main()", "run", "--json"]


@pytest.fixture
def command(stage):
    places = ["--recipe", stage.write_recipe(), "--dataset", stage.root, "--runs", stage.runs]
    return [*COMMAND, *map(str, places)]


def run_until(command, event):
    """Start the command and kill it right after the `event`-th line that it says; returns the lines."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = []
    for line in process.stdout:
        said.append(json.loads(line))
        if len(said) == event:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    process.wait()
    return said


def finish(command):
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def finished(events):
    return {(event["job"], event["video"]) for event in events if event["event"] == "done"}


@pytest.mark.parametrize("event", [1, 7, 21, 36])
def test_a_killed_run_goes_on(stage, command, undisturbed, event):
    before = run_until(command, event)
    assert len(before) == event, "the run ended before it could be killed"
    done_before = finished(before)
    after = finish(command)
    assert stage.files() == undisturbed
    assert not done_before & finished(after)
    # Only what was at work when the runner was killed may have been computed again.
    assert sum(stage.computed().values()) <= 9 + 1


def test_a_run_that_is_killed_again_and_again_ends_the_same(stage, command, undisturbed):
    computed = Counter()
    for _ in range(20):
        said = run_until(command, 12)
        computed += stage.computed()
        if said[-1]["event"] == "finished":
            break
    finish(command)
    assert stage.files() == undisturbed


def test_an_interrupted_run_says_how_to_go_on_and_leaves_no_worker(stage, command, undisturbed):
    stage.write_recipe(b=("--pause", "30"))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if json.loads(line)["event"] == "started":
            break
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted; what is finished is kept, the same command continues" in error
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(stage.runs) not in listed
    stage.write_recipe()
    finish(command)
    assert stage.files() == undisturbed


@pytest.mark.parametrize("run", ["a", "a_p"])
def test_an_orphan_that_writes_old_masks_after_its_runner_was_killed(stage, command, tmp_path, run, monkeypatch):
    """The worker outlives its runner with the frames in memory; then these change, and the same command is given."""
    monkeypatch.setenv("ACTING_HOLD", "3")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        event = json.loads(line)
        if (event["event"], event.get("video")) == ("progress", "v1") and run in event["runs"]:
            break
    while f"{run} v1" not in stage.log.read_text().replace("+early_p", ""):
        time.sleep(0.05)
    time.sleep(0.5)  # it has read the frames, and waits before it writes
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    stage.redraw("v1")
    monkeypatch.setenv("ACTING_HOLD", "0")
    finish(command)
    undisturbed = type(stage)(tmp_path / "undisturbed")
    undisturbed.redraw("v1")
    assert undisturbed.carry_out()[0].complete
    assert stage.files() == undisturbed.files()
    assert make_plan(stage.context()).missing == 0
