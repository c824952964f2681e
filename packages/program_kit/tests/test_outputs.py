"""Runs that are written together, and what their masks are made from."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mask_interchange import MaskRun, MaskTrack, RunBusyError, RunManifest, VideoMasks, open_video
from PIL import Image
from program_kit.outputs import OutputRuns


@pytest.fixture
def video(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for name in ("0", "1"):
        Image.new("RGB", (6, 4)).save(folder / f"{name}.png")
    return open_video(folder, "a dog").videos["clip"]


@pytest.fixture
def runs(tmp_path):
    dataset = {"name": "d", "split": None, "fingerprint": "f"}
    manifest = RunManifest(producer="p", producer_version="1", dataset=dataset)
    return [MaskRun.create(tmp_path / name, manifest) for name in ("a", "b", "source")]


def masks_of(video, value):
    track = MaskTrack.from_masks(video.expressions[0], np.full((2, 4, 6), value, bool), key_frame=0)
    return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=(track,))


def test_runs_are_finished_together(video, runs):
    first, second = masks_of(video, False), masks_of(video, True)
    outputs = OutputRuns(runs[:2])
    runs[0].write(first, outputs.made_of(video)[0])
    assert not outputs.have(video)
    with outputs.writing():
        outputs.write((second, second), outputs.made_of(video))
        with pytest.raises(RunBusyError), runs[1].writing():
            pass
    assert outputs.have(video)
    assert runs[0].read("clip") == first  # what was finished is left as it is
    assert runs[1].read("clip") == second


def test_masks_without_a_record_of_their_own_do_not_count(video, runs):
    outputs = OutputRuns(runs[:1])
    outputs.write([masks_of(video, False)], outputs.made_of(video))
    assert outputs.have(video)
    record = runs[0].path / "records" / "clip.json"
    tree = json.loads(record.read_text())
    for damaged in (b"", b"[]", b"{}", b"[" * 100_000, json.dumps({**tree, "made_of": {"sources": 3}}).encode()):
        record.write_bytes(damaged)
        assert not outputs.have(video)
    record.write_text(json.dumps(tree))
    assert outputs.have(video)
    runs[0].write(masks_of(video, True))  # by somebody who records nothing: the record is that of other masks
    assert outputs.begun("clip")
    assert not outputs.have(video)


def test_frames_sources_and_settings_are_what_masks_are_made_from(video, runs, tmp_path):
    run, source = runs[1:]
    source.write(masks_of(video, True))
    outputs = OutputRuns([run], [source])
    outputs.write([masks_of(video, True)], outputs.made_of(video))
    assert outputs.have(video)
    source.write(masks_of(video, False))
    assert not outputs.have(video)
    source.write(masks_of(video, True))
    assert outputs.have(video)
    frame = tmp_path / "clip" / "1.png"
    kept = frame.read_bytes()
    Image.new("RGB", (6, 4), (9, 9, 9)).save(frame)
    assert not outputs.have(video)
    frame.write_bytes(kept)
    assert outputs.have(video)
    assert not OutputRuns([MaskRun(run.path, replace(run.manifest, settings={"a": 1}))], [source]).have(video)


def test_locks_are_released_when_one_run_is_busy(runs):
    with runs[1].writing(), pytest.raises(RunBusyError):
        OutputRuns(runs).writing()
    with runs[0].writing():
        pass
