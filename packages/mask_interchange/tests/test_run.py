"""Runs: created once, continued by the same, never mixed, never half."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_interchange import DataNameError, MaskFileError, MaskRun, RunBusyError, RunError, RunManifest, run

MANIFEST = RunManifest(
    producer="soc-infer",
    producer_version="0.1.0",
    checkpoint_sha256="ab" * 32,
    settings={"config": "base", "scales": (1, 2)},
    dataset={"name": "mini", "split": None, "fingerprint": "12"},
)


def test_write_and_read(masks, tmp_path):
    made = MaskRun.create(tmp_path / "runs" / "soc", MANIFEST)
    assert made.missing(["dog", "cat"]) == ["dog", "cat"]
    made.write(masks)
    for name in ("v10", "v9"):
        made.write(replace(masks, video=name))
    again = MaskRun.open(tmp_path / "runs" / "soc")
    assert again.name == "soc"
    assert again.manifest == MANIFEST
    assert again.videos() == ["dog", "v9", "v10"]
    assert again.has("dog")
    assert again.missing(["cat", "dog"]) == ["cat"]
    assert again.read("dog") == masks


def test_opening_reads_no_video(masks, tmp_path):
    made = MaskRun.create(tmp_path / "soc", MANIFEST)
    (tmp_path / "soc" / "videos" / "bad.masks").write_bytes(b"junk")
    made.write(masks)
    opened = MaskRun.open(tmp_path / "soc")
    assert opened.videos() == ["bad", "dog"]
    assert opened.read("dog") == masks
    with pytest.raises(MaskFileError, match=r"bad\.masks"):
        opened.read("bad")


def test_masks_for_a_vote_come_with_run_lengths_and_the_hash_of_what_was_read(masks, tmp_path, monkeypatch):
    made = MaskRun.create(tmp_path / "soc", MANIFEST)
    made.write(masks)
    read, sha256 = made.read_hashed("dog")
    assert read == masks == made.read("dog")
    assert sha256 == made.sha256("dog")
    decoded = [track.runs for track in made.read("dog").tracks]
    monkeypatch.setattr("mask_interchange.track.decode_runs", None)  # nothing is decoded a second time
    for track, runs in zip(read.tracks, decoded, strict=True):
        assert np.array_equal(track.runs.lengths, runs.lengths)
        assert np.array_equal(track.runs.starts, runs.starts)
    file = tmp_path / "soc" / "videos" / "dog.masks"
    file.rename(file.with_name("cat.masks"))
    monkeypatch.undo()
    with pytest.raises(MaskFileError, match="expected 'cat'"):
        made.read_hashed("cat")


def test_a_file_of_another_video(masks, tmp_path):
    made = MaskRun.create(tmp_path / "soc", MANIFEST)
    made.write(masks)
    (tmp_path / "soc" / "videos" / "dog.masks").rename(tmp_path / "soc" / "videos" / "cat.masks")
    with pytest.raises(MaskFileError, match="expected 'cat', as the file is called, found 'dog'"):
        made.read("cat")
    with pytest.raises(RunError, match="no masks of video 'dog'"):
        made.read("dog")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"producer": "mutr-infer"}, "program: was soc-infer, is mutr-infer"),
        ({"producer_version": "2"}, "version: was"),
        ({"checkpoint_sha256": None}, r"checkpoint: was [0-9a-f]{8}\.\.\., is not given"),
        ({"settings": {"config": "base", "scales": [1, 3]}}, r"setting scales: was \[1, 2\], is \[1, 3\]"),
        ({"settings": {"config": "base"}}, r"setting scales: was \[1, 2\], is not given"),
        ({"dataset": {"name": "mini", "split": None, "fingerprint": "13"}}, "the data set differs"),
    ],
)
def test_another_manifest_does_not_continue(masks, tmp_path, change, words):
    MaskRun.create(tmp_path / "soc", MANIFEST).write(masks)
    MaskRun.create(tmp_path / "soc", replace(MANIFEST))
    with pytest.raises(RunError, match=words):
        MaskRun.create(tmp_path / "soc", replace(MANIFEST, **change))
    assert MaskRun.open(tmp_path / "soc").manifest == MANIFEST


def test_an_empty_run_is_started_anew(tmp_path):
    first = MaskRun.create(tmp_path / "soc", MANIFEST)
    other = replace(MANIFEST, producer_version="2")
    with first.writing(shared=True), pytest.raises(RunBusyError):  # its writer has only not finished a video yet
        MaskRun.create(tmp_path / "soc", other)
    assert MaskRun.create(tmp_path / "soc", other).manifest == other
    assert MaskRun.open(tmp_path / "soc").manifest == other


def test_only_an_empty_run_is_removed(masks, tmp_path):
    made = MaskRun.create(tmp_path / "soc", MANIFEST)
    (tmp_path / "soc" / "notes.txt").touch()
    made.remove_if_empty()
    assert MaskRun.open(tmp_path / "soc")
    (tmp_path / "soc" / "notes.txt").unlink()
    made.write(masks)
    made.remove_if_empty()
    assert made.videos() == ["dog"]
    (tmp_path / "soc" / "videos" / "dog.masks").unlink()
    with made.writing():
        MaskRun.open(tmp_path / "soc").remove_if_empty()
        assert (tmp_path / "soc").exists(), "somebody writes"
    made.remove_if_empty()
    assert not (tmp_path / "soc").exists()


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(text, json_values))
def test_manifests_survive(settings):
    manifest = replace(MANIFEST, settings=settings)
    assert RunManifest.from_json(manifest.to_json().encode(), "run.json") == manifest
    assert manifest.difference(manifest) is None


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(RunError, match=r"found a\.jpg and no run\.json"):
        MaskRun.create(tmp_path / "photos", MANIFEST)
    assert [p.name for p in (tmp_path / "photos").iterdir() if p.name != ".lock"] == ["a.jpg"]
    with pytest.raises(RunError, match="expected a folder or nothing"):
        MaskRun.create(tmp_path / "photos" / "a.jpg", MANIFEST)
    with pytest.raises(RunError, match=r"holds no run\.json"):
        MaskRun.open(tmp_path / "photos")
    with pytest.raises(RunError, match="no such folder"):
        MaskRun.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not a run's manifest"),
        (b"\xff\xfe", "not a run's manifest"),
        (b"[" * 100_000, "not a run's manifest"),
        (
            MANIFEST.to_json().replace('"settings": {', '"settings": {"a": ' + "[" * 900 + "]" * 900).encode(),
            "inside each",
        ),
        (MANIFEST.to_json().replace('"settings": {', '"settings": {"a": ' + "9" * 5000).encode(), "4300 digits"),
        (b"[]", "expected a JSON object"),
        (b'{"format_version": 2}', "expected format_version 1, found 2"),
        (b'{"format_version": 1}', "expected the keys"),
        (b" " * (2**20 + 1), "a larger file"),
        (json.dumps({**json.loads(MANIFEST.to_json()), "producer": 3}).encode(), "producer: expected"),
        (json.dumps({**json.loads(MANIFEST.to_json()), "checkpoint_sha256": "xyz"}).encode(), "64 hexadecimal"),
        (json.dumps({**json.loads(MANIFEST.to_json()), "dataset": {"name": "x"}}).encode(), "dataset must have"),
    ],
)
def test_bad_manifests(tmp_path, text, words):
    (tmp_path / "run.json").write_bytes(text)
    with pytest.raises(RunError, match=words) as caught:
        MaskRun.open(tmp_path)
    assert "run.json" in str(caught.value)


def test_settings_must_be_json():
    for settings in ({"a": object()}, {"a": float("nan")}, {"a": {1, 2}}):
        with pytest.raises(RunError, match="JSON values"):
            replace(MANIFEST, settings=settings)


def test_two_writers(masks, tmp_path):
    first, second = (MaskRun.create(tmp_path / "soc", MANIFEST) for _ in range(2))
    with first.writing():
        first.write(masks)
        for shared in (False, True):
            with pytest.raises(RunBusyError, match="another process"), second.writing(shared=shared):
                pass
        with pytest.raises(RunBusyError):
            second.write(masks)
    with first.writing(shared=True), second.writing(shared=True):
        first.write(masks)
        second.write(replace(masks, video="cat"))
    with second.writing():
        pass
    assert first.videos() == ["cat", "dog"]


def test_creating_waits_for_who_is_creating(tmp_path, monkeypatch):
    """The second of two creators finds the first one's manifest instead of an error, and gives up on a stuck one."""
    monkeypatch.setattr(run, "_CREATE_PATIENCE", 0.2)
    folder = tmp_path / "soc"
    folder.mkdir()
    with run.lock_folder(folder, shared=False):
        with pytest.raises(RunBusyError):
            MaskRun.create(folder, MANIFEST)
        run._start(folder, MANIFEST)
        assert MaskRun.create(folder, MANIFEST).manifest == MANIFEST


def test_leftovers_are_removed_by_a_lone_writer_only(masks, tmp_path):
    made = MaskRun.create(tmp_path / "soc", MANIFEST)
    leftover = tmp_path / "soc" / "videos" / ".writing-x.tmp"
    leftover.write_bytes(b"half")
    assert made.videos() == []
    with made.writing(shared=True):
        assert leftover.exists(), "it may be another worker's"
    made.write(masks)
    assert not leftover.exists()


def test_ids_cannot_leave_the_folder(tmp_path):
    made = MaskRun.create(tmp_path / "soc", MANIFEST)
    for name in ("../run", "a/b", ""):
        for call in (made.read, made.open_video):
            with pytest.raises(DataNameError):
                call(name)


@pytest.mark.parametrize("name", ["CON", "..", "a/b"])
def test_what_cannot_be_the_name_of_a_video_is_not_there(tmp_path, name):
    made = MaskRun.create(tmp_path / "run", MANIFEST)
    assert made.missing([name]) == [name]
    assert made.sha256(name) is None
    assert made.made_of(name) is None


def test_files_that_are_no_videos_are_ignored(masks, tmp_path):
    made = MaskRun.create(tmp_path / "soc", MANIFEST)
    made.write(masks)
    for name in ("._dog.masks", ".masks", "notes.txt", "a:b.masks"):
        (tmp_path / "soc" / "videos" / name).touch()
    assert made.videos() == ["dog"]


def test_files_can_be_read_by_those_whom_the_umask_lets(masks, tmp_path):
    before = os.umask(0o022)
    try:
        MaskRun.create(tmp_path / "soc", MANIFEST).write(masks)
    finally:
        os.umask(before)
    assert (tmp_path / "soc" / "videos" / "dog.masks").stat().st_mode & 0o777 == 0o644


@given(st.binary(max_size=60) | json_values.map(lambda tree: json.dumps(tree).encode()))
def test_any_manifest(text):
    with pytest.raises(RunError):
        RunManifest.from_json(text, "run.json")


def test_names_from_file_systems_survive(tmp_path):
    """A path of bytes that are no UTF-8 reaches Python with lone surrogates."""
    odd = replace(MANIFEST, settings={"tokenizer": "caf\udce9"})
    MaskRun.create(tmp_path / "soc", odd)
    assert MaskRun.open(tmp_path / "soc").manifest == odd
