"""Drawing, taking, clearing, locking, undoing; and the run that comes of it."""

import os
import shutil
import signal
import sys

import numpy as np
import pytest
from fusion_core.cli import app
from fusion_core.view.journal import JournalError
from mask_interchange import MaskRun, RunError, encode_mask, read_masks

SIZE = (90, 160)


def square(x, y=10, side=20):
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, x : x + side] = True
    return encode_mask(mask)


EMPTY = encode_mask(np.zeros(SIZE, bool))


def source(runs, name="final", video="world00", e=0):
    return list(MaskRun.open(runs / name).read(video).tracks[e].masks)


def test_a_drawn_mask_counts_at_once_and_the_others_stay(page, runs):
    before = page.masks(0, 0)
    assert before == source(runs)
    answer = page.draw(0, 0, 2, square(5), "0")
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"1"'
    assert answer.json()["parts"][0] == [{"start": 2, "stop": 3, "kind": "draw", "run": None, "locked": False}]
    assert page.masks(0, 0) == [*before[:2], square(5), *before[3:]]
    assert page.masks(0, 1) == source(runs, e=1)
    assert page.masks(1, 0) == source(runs, video="world01")


@pytest.mark.parametrize(
    ("counts", "match", "status"),
    [
        (square(5), None, 428),
        (square(5), "1", 412),
        (b"", "0", 400),
        (b"1", "0", 400),
        (b"\xff\xff", "0", 400),
        (encode_mask(np.zeros((160, 90), bool))[:-1], "0", 400),
        (encode_mask(np.zeros((10, 10), bool)), "0", 400),
        (b"0" * 2**20, "0", 400),
    ],
)
def test_what_is_no_mask_or_was_not_seen_changes_nothing(page, counts, match, status):
    assert page.draw(0, 0, 2, counts, match).status_code == status
    assert not page.corrected.path.joinpath("edits", "world00.jsonl").exists()
    assert page.json("videos/0")["revision"] == 0


def test_the_second_of_two_tabs_gets_the_mask_of_the_first(page):
    assert page.draw(0, 0, 2, square(5), "0").status_code == 200
    answer = page.draw(0, 0, 2, square(50), "0")
    assert answer.status_code == 412
    assert answer.json()["mask"].encode() == square(5)
    assert page.draw(0, 0, 2, square(50), answer.json()["revision"]).status_code == 200
    assert page.masks(0, 0)[2] == square(50)
    stale = {"kind": "clear", "e": 0, "from": 0, "to": 6}
    assert page.post("videos/0/stretches", stale, "1").status_code == 412
    assert page.post("videos/0/stretches", stale).status_code == 428


def test_a_stretch_is_taken_cleared_and_locked(page, runs):
    number = [run["name"] for run in page.json("session")["runs"]].index("c")
    assert page.change(0, kind="lock", e=0, **{"from": 1, "to": 2}).status_code == 200
    answer = page.change(0, kind="take", e=0, run=number, **{"from": 0, "to": 4})
    assert answer.json()["changed"] == {"e": 0, "from": 0, "to": 4}
    final, other = source(runs), source(runs, "c")
    assert page.masks(0, 0) == [other[0], final[1], *other[2:4], *final[4:]]
    assert page.change(0, kind="clear", e=0, **{"from": 3, "to": 6}).status_code == 200
    assert page.masks(0, 0) == [other[0], final[1], other[2], EMPTY, EMPTY, EMPTY]
    parts = page.json("videos/0")["parts"][0]
    assert [(p["start"], p["stop"], p["kind"], p["run"], p["locked"]) for p in parts] == [
        (0, 1, "take", "c", False),
        (1, 2, None, None, True),
        (2, 3, "take", "c", False),
        (3, 6, "clear", None, False),
    ]
    assert page.draw(0, 0, 1, square(5), "0L").status_code == 409
    assert page.change(0, kind="clear", e=0, **{"from": 1, "to": 2}).status_code == 409
    assert page.change(0, kind="unlock", e=0, **{"from": 0, "to": 6}).status_code == 200
    assert page.draw(0, 0, 1, square(5), "0").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [
        {"kind": "burn", "e": 0, "from": 0, "to": 1},
        {"kind": "undo", "e": 0, "from": 0, "to": 1},
        {"kind": "clear", "e": 0, "from": 1, "to": 1},
        {"kind": "clear", "e": 0, "from": 0, "to": 7},
        {"kind": "clear", "e": True, "from": 0, "to": 1},
        {"kind": "clear", "e": 0, "from": "0", "to": 1},
        {"kind": "clear", "e": 0, "from": 0, "to": 1, "path": "/etc/passwd"},
        {"kind": "take", "e": 0, "from": 0, "to": 1},
        {"kind": "take", "e": 0, "from": 0, "to": 1, "run": "../x"},
        {"kind": "take", "e": 0, "from": 0, "to": 1, "run": -1},
        {"kind": "take", "e": 99, "from": 0, "to": 1, "run": 0},
        {"kind": "clear", "e": 0, "from": -1, "to": 1},
    ],
)
def test_a_stretch_that_there_is_not_is_refused(page, wanted):
    answer = page.post("videos/0/stretches", wanted, "0")
    assert answer.status_code in {400, 404}, answer.text
    assert page.json("videos/0")["revision"] == 0


@pytest.fixture
def restarted(opened, page_of):
    """A function that gives the page of a new start; the one before has ended."""
    before = []

    def start(source=None):
        while before:
            before.pop().__exit__(None, None, None)
        before.append(opened(source))
        return page_of(before[0])

    yield start
    while before:
        before.pop().__exit__(None, None, None)


def test_everything_can_be_undone_also_after_a_restart(restarted, runs):
    page = restarted("final")
    states = [page.masks(0, 0)]
    for i in (1, 4):
        page.draw(0, 0, i, square(10 * i), "0")
        states.append(page.masks(0, 0))
    page.change(0, kind="clear", e=0, **{"from": 0, "to": 3})
    page = restarted()
    for state in reversed(states):
        answer = page.post("videos/0/undo")
        assert answer.status_code == 200
        assert page.masks(0, 0) == state
    assert answer.json()["changed"] == {"e": 0, "from": 1, "to": 2}
    assert page.post("videos/0/undo").status_code == 409
    page = restarted()
    for state in states[1:]:
        assert page.post("videos/0/redo").status_code == 200
        assert page.masks(0, 0) == state
    page.draw(0, 0, 5, square(5), "0")
    assert page.post("videos/0/redo").status_code == 409
    assert page.json("videos/0")["canUndo"]


def test_the_saved_run_is_an_ordinary_one(page, runs, world, tmp_path):
    page.draw(0, 0, 2, square(5), "0")
    page.change(0, kind="clear", e=1, **{"from": 0, "to": 6})
    assert page.post("save").json() == {"saved": True, "path": str(runs / "corrected")}
    run = MaskRun.open(runs / "corrected")
    assert (run.manifest.producer, run.manifest.settings) == ("fusion-core view", {"source": "final"})
    final = MaskRun.open(runs / "final")
    assert run.videos() == final.videos()
    assert run.read("world01") == final.read("world01")
    tracks, before = run.read("world00").tracks, final.read("world00").tracks
    assert [track.expression for track in tracks] == [track.expression for track in before]
    assert tracks[2:] == before[2:]
    assert list(tracks[0].masks) == page.masks(0, 0)
    assert (tracks[0].key_frame, tracks[0].scores) == (2, None)
    assert set(tracks[1].masks) == {EMPTY}
    assert tracks[1].key_frame == before[1].key_frame
    corrected, out = str(runs / "corrected"), tmp_path / "out"
    for command in (
        ["fuse", "--members=corrected,a,b", "--threshold=3", f"--runs={runs}", f"--out={out / 'vote'}"],
        ["export", corrected, f"--out={out / 'png'}"],
        ["submit", corrected, f"--dataset={world.dataset}", f"--out={out / 'x.zip'}"],
    ):
        assert not app(command, standalone_mode=False)


def test_only_what_has_changed_is_written_again(page, runs):
    page.draw(0, 0, 2, square(5), "0")
    page.post("save")
    files = {file: file.stat().st_mtime_ns for file in (runs / "corrected" / "videos").iterdir()}
    assert len(files) == 2
    page.draw(1, 0, 2, square(5), "0")
    page.post("save")
    changed = [file.name for file, time in files.items() if file.stat().st_mtime_ns != time]
    assert changed == ["world01.masks"]


def test_what_a_killed_server_kept_is_saved_by_the_next(opened, page_of, runs):
    killed = opened("final")
    page_of(killed).draw(0, 0, 2, square(5), "0")
    killed._stack.pop_all().close()  # as the system does with locks; nothing is saved
    assert not (runs / "corrected" / "videos" / "world00.masks").exists()
    with opened() as corrected:
        assert not corrected.is_saved
    assert read_masks(runs / "corrected" / "videos" / "world00.masks").tracks[0].masks[2] == square(5)


def test_looking_alone_writes_nothing(opened, page_of, runs):
    before = sorted(runs.rglob("*"))
    with opened() as corrected:
        page_of(corrected).masks(0, 0)
    assert sorted(runs.rglob("*")) == before


def test_a_second_server_looks_only(opened, page_of, runs):
    with opened("final") as first:
        page_of(first).draw(0, 0, 2, square(5), "0")
        with opened() as second:
            page = page_of(second)
            assert "another process is writing here" in page.json("session")["readOnly"]
            assert page.masks(0, 0)[2] == square(5)
            journal = runs / "corrected" / "edits" / "world00.jsonl"
            before = journal.read_bytes()
            for answer in (page.draw(0, 0, 3, square(5), "0"), page.post("videos/0/undo"), page.post("save")):
                assert answer.status_code == 409
                assert "another process is writing here" in answer.json()["error"]
            assert journal.read_bytes() == before


def test_a_run_without_the_video_begins_empty(opened, page_of, runs):
    (runs / "final" / "videos" / "world00.masks").unlink()
    with opened("final") as corrected:
        page = page_of(corrected)
        assert set(page.masks(0, 0)) == {EMPTY}
        page.draw(0, 0, 2, square(5), "0")
    tracks = MaskRun.open(runs / "corrected").read("world00").tracks
    assert tracks[0].masks[2] == square(5)
    assert len(tracks) == len(corrected.library.open(0).video.expressions)


def test_corrections_of_another_run_are_not_mixed(opened, page_of, runs):
    with opened("final") as corrected:
        page_of(corrected).draw(0, 0, 2, square(5), "0")
    with pytest.raises(RunError, match="corrections of the run 'final', not of 'a'"):
        opened("a")
    shutil.rmtree(runs / "corrected")
    with pytest.raises(RunError, match="has no run 'nothing', only a,"):
        opened("nothing")
    MaskRun.open(runs / "a").path.rename(runs / "corrected")
    with pytest.raises(RunError, match="expected corrections, found a run of synthetic"):
        opened()


def test_a_damaged_journal_is_said_and_the_other_videos_go_on(opened, page_of, runs):
    with opened("final") as corrected:
        page = page_of(corrected)
        for i in range(3):
            page.draw(0, 0, i, square(5), "0")
    journal = runs / "corrected" / "edits" / "world00.jsonl"
    text = journal.read_bytes()
    journal.write_bytes(text.replace(b'"start": 1', b'"start": 2'))
    damaged = journal.read_bytes()
    corrected = opened()
    page = page_of(corrected)
    answer = page.get("videos/0")
    assert answer.status_code == 409
    assert "line 3 is damaged" in answer.json()["error"]
    assert page.draw(0, 0, 4, square(5), "0").status_code == 409
    assert page.draw(1, 0, 4, square(5), "0").status_code == 200
    with pytest.raises(JournalError, match="line 3 is damaged"):
        corrected.__exit__(None, None, None)
    assert journal.read_bytes() == damaged
    assert MaskRun.open(runs / "corrected").read("world01").tracks[0].masks[4] == square(5)


def killed(work, at):
    """Do `work` in a fork that SIGKILL ends at its `at`-th change of the file system; whether there was one."""
    child = os.fork()
    if child == 0:
        left, fsync = at, os.fsync

        def changing(event, arguments):
            nonlocal left
            is_write = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if is_write or event in {"fsync", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate"}:
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1

        os.fsync = lambda handle: (sys.audit("fsync"), fsync(handle))
        sys.addaudithook(changing)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_nothing_is_lost_by_a_kill_at_any_write(opened, runs, tmp_path):
    """Drawing, saving and ending: what was answered is there, and every file can be read."""
    untouched = tmp_path / "untouched"
    shutil.copytree(runs, untouched)
    drawn = [(0, square(5)), (3, square(50)), (0, square(90))]
    at, answers = 0, []
    while True:
        shutil.rmtree(runs)
        shutil.copytree(untouched, runs)
        reading, writing = os.pipe()

        def work(writing=writing):
            with opened("final") as corrected:
                corrections = corrected.corrections(0)
                for i, counts in drawn:
                    corrected.begin()
                    corrections.draw(0, i, counts, corrections.frame_revision(0, i))
                    corrected.changed()
                    os.write(writing, b"1")
                    if i == 3:
                        corrected.save()

        was_killed = killed(work, at)
        os.close(writing)
        answered = len(os.read(reading, 9))
        os.close(reading)
        if (runs / "corrected" / "run.json").is_file():
            run = MaskRun.open(runs / "corrected")
            assert all(run.read(video) for video in run.videos())
        with opened("final") as corrected:
            for number in range(answered, len(drawn) + 1):
                states = dict(drawn[:number])
                if all(corrected.mask(0, 0, i) == counts for i, counts in states.items()):
                    break
            else:
                pytest.fail(f"killed at change {at}: of {answered} drawn masks not all are there")
        if answered:
            saved = MaskRun.open(runs / "corrected").read("world00").tracks[0]
            assert all(saved.masks[i] == counts for i, counts in states.items())
        answers.append(answered)
        at += 1
        if not was_killed:
            break
    assert set(answers) == {0, 1, 2, 3}
    assert at > 20


def test_a_full_disk_is_said_and_the_stroke_can_be_sent_again(page, monkeypatch):
    page.draw(0, 0, 0, square(5), "0")

    def full(handle):
        raise OSError(28, "No space left on device", "journal")

    monkeypatch.setattr("fusion_core.view.journal.os.fsync", full)
    answer = page.draw(0, 0, 2, square(5), "0")
    assert (answer.status_code, "No space left" in answer.json()["error"]) == (507, True)
    monkeypatch.undo()
    assert page.draw(0, 0, 2, square(5), "0").status_code == 200
    assert page.masks(0, 0)[2] == square(5)


def test_an_error_of_ours_gives_a_number_and_no_more(page, monkeypatch, caplog):
    def broken(self, v):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("fusion_core.view.library.Library.open", broken)
    answer = page.get("videos/0")
    assert answer.status_code == 500
    number = answer.json()["error"].split()[1]
    assert "secret" not in answer.text
    assert number in caplog.text
    assert "secret" in caplog.text
