"""Carrying drawn masks on, with a program that only acts: it moves a mask by one column a frame."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fusion_core.view.anchors import Span, spans
from fusion_core.view.propagation import Propagation
from mask_interchange import MaskRun, decode_mask, encode_mask

ACTING = Path(__file__).parents[1] / "acting.py"
SIZE = (90, 160)


def square(x, side=20):
    mask = np.zeros(SIZE, bool)
    mask[30 : 30 + side, x : x + side] = True
    return encode_mask(mask)


@pytest.fixture
def carrying(opened, page_of, world):
    """A function that gives the page of a server whose propagator acts, with more words for its command line."""
    entered = []

    def start(*words):
        corrected = opened("final").__enter__()
        command = (sys.executable, str(ACTING), *words)
        data = ("--dataset", str(world.dataset.absolute()))
        propagation = Propagation(corrected, data, {"acting": command, "nothing": ("no-such-program",)})
        entered.append((propagation, corrected))
        return page_of(corrected, propagation)

    yield start
    for propagation, corrected in entered:
        propagation.__exit__()
        corrected.__exit__()


def begin(page, start, stop, e=0, propagator="acting"):
    return page.post("jobs", {"v": 0, "e": e, "from": start, "to": stop, "propagator": propagator})


def end(page):
    """The job, when it has ended."""
    deadline = time.monotonic() + 100
    while (job := page.json("jobs"))["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


def draw(page, i, counts, e=0):
    revision = page.json("videos/0/edits", e=e, **{"from": i, "to": i + 1})["frames"][0]["revision"]
    assert page.draw(0, e, i, counts, revision).status_code == 200


def test_an_anchor_is_carried_both_ways_and_stays_as_it_is(carrying):
    page = carrying()
    others = page.masks(0, 1)
    draw(page, 2, square(50))
    assert begin(page, 0, 6).status_code == 200
    job = end(page)
    assert (job["state"], job["changed"], job["text"]) == ("done", [0, 6], "5 frames from 1 drawn masks")
    assert page.masks(0, 0) == [square(48 + i) for i in range(6)]
    assert page.masks(0, 1) == others
    kinds = [(part["start"], part["stop"], part["kind"], part["run"]) for part in job["parts"][0]]
    assert kinds == [(0, 2, "propagate", "acting"), (2, 3, "draw", None), (3, 6, "propagate", "acting")]


def test_two_anchors_are_joined_where_they_agree_and_the_worker_stays(carrying, tmp_path):
    page = carrying("--log", str(tmp_path / "log"))
    draw(page, 0, square(50))
    draw(page, 5, square(65))  # ten columns from where the first one would be
    begin(page, 1, 2)
    job = end(page)
    assert job["doubtful"] == [3]
    assert "both ways disagree" in job["text"]
    assert page.masks(0, 0) == [square(50 + i) for i in range(2)] + [square(60 + i) for i in range(2, 6)]
    draw(page, 3, square(58))
    begin(page, 0, 6)
    assert end(page)["doubtful"] == []
    masks = page.masks(0, 0)
    assert [masks[i] for i in (0, 3, 5)] == [square(50), square(58), square(65)]
    assert (tmp_path / "log").read_text().count("started") == 1


def test_what_the_user_has_settled_stays_and_stops_the_mask(carrying):
    page = carrying()
    before = page.masks(0, 0)
    draw(page, 2, square(50))
    page.change(0, kind="lock", e=0, **{"from": 1, "to": 2})
    page.change(0, kind="clear", e=0, **{"from": 4, "to": 5})
    begin(page, 0, 6)
    job = end(page)
    assert job["changed"] == [3, 4]
    masks = page.masks(0, 0)
    assert masks[:2] == before[:2]
    assert masks[2:4] == [square(50), square(51)]
    assert not decode_mask(masks[4], SIZE).any()
    assert masks[5] == before[5]
    page.post("videos/0/undo")
    assert page.masks(0, 0)[3] == before[3]


def test_the_carried_masks_are_saved(carrying, runs):
    page = carrying()
    draw(page, 2, square(50))
    begin(page, 0, 6)
    end(page)
    assert page.post("save").json()["saved"]
    track = MaskRun.open(runs / "corrected").read("world00").tracks[0]
    assert track.masks == tuple(square(48 + i) for i in range(6))
    assert track.key_frame == 2


def test_a_program_that_fails_changes_nothing_and_may_try_again(carrying, failing):
    words, message = failing
    page = carrying(*words)
    draw(page, 2, square(50))
    before = page.masks(0, 0)
    for _ in range(2):
        assert begin(page, 0, 6).status_code == 200
        job = end(page)
        assert job["state"] == "failed"
        assert message in job["text"]
        assert page.masks(0, 0) == before


def test_a_job_is_stopped_and_the_next_one_runs(carrying):
    page = carrying("--pause", "3")
    draw(page, 2, square(50))
    before = page.masks(0, 0)
    number = begin(page, 0, 6).json()["number"]
    assert begin(page, 0, 6).status_code == 409
    assert page.client.request("DELETE", f"/api/jobs/{number + 1}", json={}).status_code == 404
    stopped = page.client.request("DELETE", f"/api/jobs/{number}", json={}).json()
    assert (stopped["state"], stopped["text"]) == ("stopped", "stopped; nothing has changed")
    assert page.masks(0, 0) == before
    begin(page, 0, 6)
    assert end(page)["state"] == "done"
    assert page.masks(0, 0) == [square(48 + i) for i in range(6)]


def test_what_cannot_be_carried_on_is_refused(carrying):
    page = carrying()
    answer = begin(page, 0, 6)
    assert (answer.status_code, "draw a mask first" in answer.text) == (400, True)
    draw(page, 2, encode_mask(np.zeros(SIZE, bool)))
    assert begin(page, 0, 6).status_code == 400
    draw(page, 2, square(50))
    assert begin(page, 0, 6, propagator="nothing").status_code == 404
    assert begin(page, 0, 6, propagator="/bin/sh").status_code == 404
    assert begin(page, 0, 6, e=99).status_code == 404
    assert begin(page, "0", 6).status_code == 400
    session = page.json("session")
    assert session["propagators"] == ["acting"]
    assert "no program 'no-such-program'" in session["missing"]["nothing"]
    assert page.json("jobs") is None


def test_the_gaps_beside_a_drawn_frame(carrying):
    page = carrying()
    draw(page, 2, square(50))
    corrections = page.corrected.corrections(0)

    def found(start, stop):
        return spans(corrections, 0, start, stop)

    whole = Span(frames=range(6), anchors=[2], gaps=[range(2), range(3, 6)])
    assert found(0, 6) == found(1, 4) == [whole]
    assert found(2, 3) == []
    assert found(4, 5) == [Span(frames=range(2, 6), anchors=[2], gaps=[range(3, 6)])]
    draw(page, 5, square(50))
    (between,) = found(3, 4)
    assert between == Span(frames=range(2, 6), anchors=[2, 5], gaps=[range(3, 5)])
    assert between.is_between(between.gaps[0])
    page.change(0, kind="clear", e=0, **{"from": 3, "to": 4})
    assert found(0, 6) == [
        Span(frames=range(3), anchors=[2], gaps=[range(2)]),
        Span(frames=range(4, 6), anchors=[5], gaps=[range(4, 5)]),
    ]


def test_only_the_frames_asked_for_are_computed(carrying, runs):
    page = carrying()
    for i in (0, 2, 5):
        draw(page, i, square(50 + i))
    begin(page, 3, 4)
    job = end(page)
    assert (job["changed"], job["text"]) == ([3, 5], "2 frames from 2 drawn masks")
    result = MaskRun.open(runs / ".view" / "jobs" / "acting" / "result").read("world00").tracks[0]
    assert [result.mask(i).any() for i in range(6)] == [False, False, True, True, True, True]
