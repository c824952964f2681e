"""The contract that every mask propagator of the workspace keeps; found by console script name, `*-propagate`."""

import hashlib
import json

import numpy as np
import pytest
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from PIL import Image

from tests.drawn import FRAMES, SIZE
from tests.programs import assert_a_choice_is_asked_for, programs

PROGRAMS = programs("-propagate")


@pytest.fixture(params=PROGRAMS, ids=str, scope="module")
def program(request):
    return request.param


def true_square(step):
    mask = np.zeros(SIZE, bool)
    mask[10:25, 5 + 9 * step : 20 + 9 * step] = True
    return mask


def write_run(dataset, path, change=lambda video, tracks: tracks, size=SIZE):
    """A run whose masks are the drawn square, key frame 1."""
    data = open_dataset(dataset)
    manifest = RunManifest(
        producer="test",
        producer_version="1",
        checkpoint_sha256=None,
        settings={},
        dataset={"name": data.name, "split": data.split, "fingerprint": data.fingerprint},
    )
    run = MaskRun.create(path, manifest)
    scores = np.array([0.2, 0.9, 0.4], np.float32)
    for video in data.videos.values():
        masks = np.stack([true_square(step) for step in range(len(FRAMES))])[:, : size[0], : size[1]]
        tracks = [MaskTrack.from_masks(expression, masks, scores=scores) for expression in video.expressions]
        run.write(
            VideoMasks(
                video=video.id,
                size=size,
                frame_names=video.frame_names,
                tracks=tuple(change(video.id, tracks)),
            )
        )
    return path


def propagate(program, dataset, masks, out, *more, **options):
    return program.run_forked("--dataset", dataset, "--masks", masks, "--out", out, *program.smoke, *more, **options)


def test_the_key_frame_is_kept_and_every_frame_gets_a_mask(program, dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    result = propagate(program, dataset, source, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    run = MaskRun.open(tmp_path / "out")
    assert run.videos() == ["aa11", "bb22"]
    for video in run.videos():
        before, after = MaskRun.open(source).read(video), run.read(video)
        assert after.frame_names == before.frame_names
        assert after.expression_ids == before.expression_ids
        for track in after.tracks:
            assert track.key_frame == 1
            np.testing.assert_array_equal(track.mask(1), true_square(1))


def test_the_same_call_again_computes_nothing(program, dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    assert propagate(program, dataset, source, tmp_path / "out").returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.masks")}
    assert propagate(program, dataset, source, tmp_path / "out").returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.masks")}


def test_one_bad_video_does_not_stop_the_rest(program, dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    (dataset / "JPEGImages" / "aa11" / f"{FRAMES[2]}.jpg").unlink()
    result = propagate(program, dataset, source, tmp_path / "out")
    assert result.returncode == 1
    assert "aa11" in result.stderr
    assert FRAMES[2] in result.stderr
    assert MaskRun.open(tmp_path / "out").videos() == ["bb22"]


def test_masks_of_another_size_are_refused_with_both_sizes(program, dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source", size=(40, 60))
    result = propagate(program, dataset, source, tmp_path / "out")
    assert result.returncode == 1
    assert "40" in result.stderr
    assert "45" in result.stderr


def test_tracks_without_key_frame_are_refused(program, dataset, tmp_path):
    def without(video, tracks):
        masks = [track.stack() for track in tracks]
        return [MaskTrack.from_masks(track.expression, m) for track, m in zip(tracks, masks, strict=True)]

    source = write_run(dataset, tmp_path / "source", change=without)
    result = propagate(program, dataset, source, tmp_path / "out")
    assert result.returncode in (1, 2)
    assert "key frame" in result.stderr


def test_worker_protocol(program, dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    result = propagate(program, dataset, source, tmp_path / "out", "--videos", "-", stdin="bb22\nnowhere\n")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    ended = {event["video"]: event["event"] for event in events if event["event"] in ("done", "failed")}
    assert ended == {"bb22": "done", "nowhere": "failed"}


def only(*shown):
    """Changes tracks of `write_run` so that they have masks in these frames only, and no key frame."""

    def change(video, tracks):
        masks = [np.stack([mask & (t in shown) for t, mask in enumerate(track.stack())]) for track in tracks]
        return [MaskTrack.from_masks(track.expression, one) for track, one in zip(tracks, masks, strict=True)]

    return change


def test_only_the_frames_asked_for_are_made(program, dataset, tmp_path):
    """The others keep what they have, bit by bit; a worker is asked for other frames of the same video each time."""
    source = write_run(dataset, tmp_path / "source", change=only(0))
    orders = [
        {"video": video, "frames": frames} for video, frames in (("aa11", "0:2"), ("bb22", "0:3"), ("bb22", "0:2"))
    ]
    lines = "".join(f"{json.dumps(order)}\n" for order in orders)
    arguments = ["--every-mask", "--videos", "-"]
    result = propagate(program, dataset, source, tmp_path / "out", *arguments, stdin=lines)
    events = [json.loads(line)["event"] for line in result.stdout.splitlines()]
    assert events.count("done") == 3, result.stderr
    run = MaskRun.open(tmp_path / "out")
    for video in ("aa11", "bb22"):
        before, after = MaskRun.open(source).read(video), run.read(video)
        for one, other in zip(before.tracks, after.tracks, strict=True):
            assert [one.masks[0], one.masks[2]] == [other.masks[0], other.masks[2]]
            assert other.key_frame == 0
    option = propagate(program, dataset, source, tmp_path / "by-option", "--every-mask", "--frames", "0:2")
    assert option.returncode == 0, option.stderr
    by_option = MaskRun.open(tmp_path / "by-option")
    assert [by_option.read(video) == run.read(video) for video in ("aa11", "bb22")] == [True, True]


def test_several_masks_of_an_object_stay_and_are_carried_to_each_other(program, dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source", change=only(0, 2))
    result = propagate(program, dataset, source, tmp_path / "out", "--every-mask")
    assert result.returncode == 0, result.stderr
    for video in ("aa11", "bb22"):
        for track in MaskRun.open(tmp_path / "out").read(video).tracks:
            np.testing.assert_array_equal(track.mask(0), true_square(0))
            np.testing.assert_array_equal(track.mask(2), true_square(2))
            assert track.scores[0] == track.scores[2] == 1
            assert 0 <= track.scores[1] <= 1


def test_maps_of_several_frames(program, dataset, tmp_path):
    maps = {0: true_square(0).astype(np.uint8), 2: 2 * true_square(2).astype(np.uint8)}  # one goes, the other comes
    arguments = ["--video", dataset / "JPEGImages" / "aa11", "--out", tmp_path / "out"]
    for frame, labels in maps.items():
        picture = Image.fromarray(labels, mode="P")
        picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        picture.save(tmp_path / f"{frame}.png")
        arguments += ["--mask", tmp_path / f"{frame}.png", "--frame", frame]
    result = program.run_forked(*arguments, *program.smoke)
    assert result.returncode == 0, result.stderr
    masks = MaskRun.open(tmp_path / "out").read("aa11")
    for frame, labels in maps.items():
        for number in (1, 2):
            np.testing.assert_array_equal(masks.track(str(number)).mask(frame), labels == number)


def test_plain_video_object_segmentation(program, dataset, tmp_path):
    labels = true_square(0).astype(np.uint8)
    labels[30:40, 5:20] = 2
    picture = Image.fromarray(labels, mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "first.png")
    video = dataset / "JPEGImages" / "aa11"
    arguments = ["--video", video, "--mask", tmp_path / "first.png", "--frame", "0", "--out", tmp_path / "out"]
    result = program.run_forked(*arguments, *program.smoke)
    assert result.returncode == 0, result.stderr
    masks = MaskRun.open(tmp_path / "out").read("aa11")
    assert list(masks.expression_ids) == ["1", "2"]
    np.testing.assert_array_equal(masks.track("2").mask(0), labels == 2)


def test_shipped_weights_are_used_when_none_are_chosen(program, dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    result = program.run("--dataset", dataset, "--masks", source, "--out", tmp_path / "out")
    if not program.demos:
        assert_a_choice_is_asked_for(result)
        return
    assert result.returncode == 0, result.stderr
    assert f"{program.name}: weights: demo" in result.stderr
    run = MaskRun.open(tmp_path / "out")
    assert run.videos() == ["aa11", "bb22"]
    assert run.manifest.checkpoint_sha256 == hashlib.sha256(program.networks["demo"].read_bytes()).hexdigest()
    assert run.manifest.settings["config"] == "demo"


def test_weights_that_are_not_shipped_must_be_chosen(program, dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    arguments = list(program.smoke)
    at = arguments.index("--weights")
    del arguments[at : at + 2]
    result = program.run_forked("--dataset", dataset, "--masks", source, "--out", tmp_path / "out", *arguments)
    assert_a_choice_is_asked_for(result)
