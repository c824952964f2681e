"""Clicks, with a program that only acts: the mask of a prompt is its box, or a square around its first point."""

import sys
from pathlib import Path

import numpy as np
import pytest
from fusion_core.view.clicks import Clicks, lacking_weights
from mask_interchange import decode_mask
from program_kit.weights_folder import StoredFile, WeightsRecord, folder_of

ACTING = Path(__file__).parents[1] / "acting.py"
SIZE = (90, 160)


@pytest.fixture
def clicking(opened, page_of, world):
    """A function that gives the page of a server whose propagator acts, with more words for its command line."""
    entered = []

    def start(*words):
        corrected = opened("final").__enter__()
        data = ("--dataset", str(world.dataset.absolute()))
        clicks = Clicks(corrected, data, (sys.executable, str(ACTING), *words))
        entered.append((clicks, corrected))
        return page_of(corrected, clicks=clicks)

    yield start
    for clicks, corrected in entered:
        clicks.__exit__()
        corrected.__exit__()


def click(page, v=0, **wanted):
    return page.post(f"videos/{v}/clicks", wanted)


def found(answer):
    assert answer.status_code == 200, answer.text
    return decode_mask(answer.json()["mask"].encode(), SIZE)


def box(left, top, right, bottom):
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_points_and_boxes_give_proposals_and_nothing_is_stored(clicking, runs, tmp_path):
    page = clicking("--log", str(tmp_path / "log"))
    assert page.json("session")["noClicks"] is None
    np.testing.assert_array_equal(found(click(page, frame=3, points=[[50, 40]])), box(45, 35, 55, 45))
    np.testing.assert_array_equal(
        found(click(page, frame=3, points=[[50, 40], [52.5, 3]], labels=[1, 0])), box(45, 35, 52, 45)
    )
    np.testing.assert_array_equal(found(click(page, v=1, frame=0, box=[3, 4, 30, 40])), box(3, 4, 30, 40))
    assert (tmp_path / "log").read_text().count("started") == 1, "the program stays"
    assert not (runs / "corrected").exists()
    assert page.json("videos/0")["revision"] == 0


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"frame": 3}, "points at nothing"),
        ({"frame": 3, "points": [[1, 2]], "labels": [0]}, "points at nothing"),
        ({"frame": 3, "points": [[1, 2, 3]]}, "expected 2 numbers"),
        ({"frame": 3, "points": "all"}, "expected a list, found text"),
        ({"frame": 6, "points": [[1, 2]]}, "frame 6 is not in the video, which has 0 to 5"),
        ({"frame": 0, "points": [[161, 2]]}, "the point (161, 2) is outside the frame of 160 x 90 pixels"),
        ({"frame": 0, "box": [9, 9, 3, 12]}, "expected left < right and top < bottom"),
        ({"frame": 0, "box": [0, 0, 5, 5], "e": 0}, "expected an object with the keys"),
    ],
)
def test_clicks_that_are_none(clicking, wanted, message):
    answer = click(clicking("--refuse"), **wanted)
    assert (answer.status_code, message in answer.json()["error"]) == (400, True), answer.text


def test_a_program_that_fails_is_said_and_may_try_again(clicking, failing):
    words, message = failing
    page = clicking(*words)
    for _ in range(2):
        answer = click(page, frame=3, points=[[50, 40]])
        assert (answer.status_code, message in answer.json()["error"]) == (409, True), answer.text


def test_without_a_program_there_are_no_clicks(page):
    assert "no program 'no-such-program'" in page.json("session")["noClicks"]
    answer = click(page, frame=3, points=[[50, 40]])
    assert (answer.status_code, "no program" in answer.json()["error"]) == (409, True)


def test_without_weights_it_is_said_which_to_fetch(tmp_path, monkeypatch):
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path))
    assert "weights fetch sam2.1-tiny` fetches published ones (sam2.1-tiny: 156 MB" in lacking_weights()
    folder = folder_of("sam2.1-large")
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    record = WeightsRecord(source="x", files={"model.safetensors": StoredFile(size=7, sha256="0" * 64)})
    record.write(folder)
    assert lacking_weights() is None
