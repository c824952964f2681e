"""The command line that all propagators share, on an example."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from PIL import Image
from program_kit.errors import InputError
from program_kit.propagator_app import propagator_app
from program_kit.weights import BundledWeights
from typer.testing import CliRunner

from . import example_propagator as example

SIZE = (40, 56)
FRAMES = [f"{t:05d}" for t in range(4)]
RANDOM = ["--weights", "random:0"]


def call(*arguments, app=example.app, weights=RANDOM, stdin=None):
    return CliRunner().invoke(app, [*map(str, arguments), *map(str, weights)], input=stdin)


def write_dataset(root, expressions=("a square", "another one")):
    meta = {"videos": {}}
    for index, video in enumerate(("aa11", "bb22")):
        folder = root / "JPEGImages" / video
        folder.mkdir(parents=True)
        for t, name in enumerate(FRAMES):
            Image.fromarray(np.full((*SIZE, 3), 10 * index + t, np.uint8)).save(folder / f"{name}.jpg")
        meta["videos"][video] = {
            "frames": FRAMES,
            "expressions": {str(i): {"exp": text} for i, text in enumerate(expressions)},
        }
    (root / "meta_expressions.json").write_text(json.dumps(meta))
    return root


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "data")


def square(start):
    mask = np.zeros(SIZE, bool)
    mask[8:24, start : start + 20] = True
    return mask


def write_run(dataset, path, key_frames=(1, 2), videos=None):
    data = open_dataset(dataset)
    run = MaskRun.create(path, RunManifest(producer="test", producer_version="1", dataset=data.identity))
    for name in videos or data.videos:
        video = data.videos[name]
        tracks = [
            MaskTrack.from_masks(expression, [square(4 + index + 4 * t) for t in range(len(FRAMES))], key_frame=key)
            for index, (expression, key) in enumerate(zip(video.expressions, key_frames, strict=True))
        ]
        run.write(VideoMasks(video=name, size=SIZE, frame_names=video.frame_names, tracks=tuple(tracks)))
    return path


def write_labels(path, labels):
    picture = Image.fromarray(labels)
    picture.putpalette([0, 0, 0, *(i % 256 for i in range(1, 766))])  # black, then a colour for each id
    picture.save(path)
    return path


def test_a_run_is_made_and_continued(dataset, tmp_path):
    source, out = write_run(dataset, tmp_path / "source"), tmp_path / "out"
    result = call("--dataset", dataset, "--masks", source, "--out", out, "--step", "3", "--soft-masks", "28")
    assert result.exit_code == 0, result.output
    assert "example-propagate: weights: random, seed 0" in result.stderr
    assert "[1/2] aa11: done" in result.stderr
    run = MaskRun.open(out)
    assert run.videos() == ["aa11", "bb22"]
    assert (run.manifest.producer, run.manifest.producer_version) == ("example-propagate", "1.2.3")
    manifest_sha256 = hashlib.sha256((source / "run.json").read_bytes()).hexdigest()
    assert run.manifest.settings == {
        "config": "base",
        "step": 3,
        "edge": "lost",
        "soft_masks": 28,
        "precision": "strict",
        "threads": run.manifest.settings["threads"],
        "source": {"run": "source", "manifest_sha256": manifest_sha256},
        "weights": "random:0",
    }
    track = run.read("bb22").track("0")
    np.testing.assert_array_equal(track.mask(3), square(8 + 6))
    assert track.soft.shape == (4, 20, 28)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.masks")}
    (out / "videos" / "aa11.masks").unlink()
    again = call("--dataset", dataset, "--masks", source, "--out", out, "--step", "3", "--soft-masks", "28")
    assert "1 videos are finished already, 1 to do" in again.stderr
    assert {path.name for path in before if path.stat().st_mtime_ns != before[path]} == {"aa11.masks"}


def test_masks_of_a_source_that_has_changed_are_made_again(dataset, tmp_path):
    source, out = write_run(dataset, tmp_path / "source"), tmp_path / "out"
    command = ["--dataset", dataset, "--masks", source, "--out", out]
    assert call(*command).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.rglob("*.masks")}
    write_run(dataset, source, key_frames=(3, 0), videos=["bb22"])
    again = call(*command)
    assert "1 videos are made again" in again.stderr
    assert {name for name in before if (out / "videos" / name).read_bytes() != before[name]} == {"bb22.masks"}


def test_several_runs_equal_one_at_a_time(dataset, tmp_path):
    first, second = write_run(dataset, tmp_path / "first"), write_run(dataset, tmp_path / "second", (3, 0))
    both = ["--masks", first, "--out", tmp_path / "x", "--masks", second, "--out", tmp_path / "y"]
    assert call("--dataset", dataset, *both).exit_code == 0
    for source, name in ((first, "x"), (second, "y")):
        assert call("--dataset", dataset, "--masks", source, "--out", tmp_path / f"{name}1").exit_code == 0
        together, single = MaskRun.open(tmp_path / name), MaskRun.open(tmp_path / f"{name}1")
        assert together.videos() == single.videos() == ["aa11", "bb22"]
        assert together.manifest == single.manifest
        assert all(together.read(video) == single.read(video) for video in together.videos())


def test_other_settings_are_refused(dataset, tmp_path):
    command = ["--dataset", dataset, "--masks", write_run(dataset, tmp_path / "source"), "--out", tmp_path / "out"]
    assert call(*command).exit_code == 0
    again = call(*command, "--edge", "round")
    assert again.exit_code == 2
    assert "setting edge: was lost, is round" in again.stderr
    assert call(*command, "--sure").exit_code == 0, "this option changes no setting"


def test_what_fails_before_any_video_leaves_no_run(dataset, tmp_path):
    """Also where the second of two runs cannot be started."""
    first, second = write_run(dataset, tmp_path / "first"), write_run(dataset, tmp_path / "second")
    assert call("--dataset", dataset, "--masks", second, "--out", tmp_path / "there").exit_code == 0
    command = ["--dataset", dataset, "--masks", first, "--out", tmp_path / "new", "--masks", second]
    assert call(*command, "--out", tmp_path / "there", "--edge", "round").exit_code == 2
    assert not (tmp_path / "new").exists()
    assert call(*command, "--out", tmp_path / "there", "--videos", "nowhere").exit_code == 2
    assert not (tmp_path / "new").exists()
    assert MaskRun.open(tmp_path / "there").videos() == ["aa11", "bb22"]


def test_own_options_are_checked_as_the_others(dataset, tmp_path):
    command = ["--dataset", dataset, "--masks", write_run(dataset, tmp_path / "source"), "--out", tmp_path / "out"]
    for own, words in ((["--step", "-1"], "--step"), (["--edge", "cut"], "'cut' is not one of")):
        result = call(*command, *own)
        assert result.exit_code == 2
        assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_video_missing_in_the_source_fails_alone(dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source", videos=["bb22"])
    result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "failed: aa11" in result.output
    assert MaskRun.open(tmp_path / "out").videos() == ["bb22"]


def test_tracks_without_key_frame_fail_in_one_line(dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source", (None, 1))
    result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "failed: aa11: video 'aa11', expression '0': the masks name no key frame" in result.stderr
    assert "Traceback" not in result.stderr


def test_masks_of_another_data_set_are_refused(dataset, tmp_path):
    other = write_dataset(tmp_path / "other", ("something else", "and more"))
    source = write_run(other, tmp_path / "source")
    result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "made on another data set (other" in result.output
    assert not (tmp_path / "out").exists()


def test_out_must_not_be_the_source(dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    result = call("--dataset", dataset, "--masks", source, "--out", source)
    assert result.exit_code == 2
    assert "the run that --masks reads" in result.output


def test_a_run_over_one_video_brings_its_expressions(dataset, tmp_path):
    """`--video` with `--masks`: the expressions are not typed again."""
    from mask_interchange import open_video

    folder = dataset / "JPEGImages" / "aa11"
    data = open_video(folder, ["a square"])
    run = MaskRun.create(tmp_path / "source", RunManifest(producer="t", producer_version="1", dataset=data.identity))
    video = data.videos["aa11"]
    track = MaskTrack.from_masks(video.expressions[0], [square(4)] * len(FRAMES), key_frame=1)
    run.write(VideoMasks(video="aa11", size=SIZE, frame_names=video.frame_names, tracks=(track,)))
    result = call("--video", folder, "--masks", run.path, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert MaskRun.open(tmp_path / "out").read("aa11").tracks[0].expression.text == "a square"


def test_objects_of_a_png(dataset, tmp_path):
    labels = np.zeros(SIZE, np.uint8)
    labels[8:24, 8:24], labels[28:38, 30:46] = 1, 4
    mask = write_labels(tmp_path / "first.png", labels)
    options = ["--video", dataset / "JPEGImages" / "aa11", "--mask", mask, "--out", tmp_path / "out"]
    result = call(*options, "--frame", 1)
    assert result.exit_code == 0, result.output
    run = MaskRun.open(tmp_path / "out")
    assert run.manifest.settings["source"] == {
        "mask_sha256": hashlib.sha256(labels.tobytes()).hexdigest(),
        "size": [40, 56],
        "frame": 1,
    }
    masks = run.read("aa11")
    assert masks.expression_ids == ("1", "4")
    np.testing.assert_array_equal(masks.track("4").mask(1), labels == 4)
    late = call(*options[:-1], tmp_path / "late", "--frame", 4)
    assert late.exit_code == 2
    assert not (tmp_path / "late").exists()
    assert "key frame 4 is not in the video, which has frames 0 to 3" in late.output
    assert "Traceback" not in late.stderr


def test_a_black_and_white_picture_shows_one_object(dataset, tmp_path):
    white = np.zeros(SIZE, np.uint8)
    white[8:24, 8:24] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    options = ["--video", dataset / "JPEGImages" / "aa11", "--mask", tmp_path / "mask.png", "--out", tmp_path / "out"]
    result = call(*options)
    assert result.exit_code == 0, result.output
    masks = MaskRun.open(tmp_path / "out").read("aa11")
    assert masks.expression_ids == ("1",)
    np.testing.assert_array_equal(masks.track("1").mask(0), white == 255)


def test_a_networks_limit_of_objects(dataset, tmp_path):
    labels = np.full(SIZE, 3, np.uint8)
    mask = write_labels(tmp_path / "first.png", labels)
    options = ["--video", dataset / "JPEGImages" / "aa11", "--mask", mask, "--config", "tiny"]
    result = call(*options, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "object id 3 is beyond the network's limit, ids are 1 to 2" in result.stderr
    assert call(*options, "--out", tmp_path / "out", "--more-objects").exit_code == 0
    unlimited = propagator_app(replace(example.PROGRAM, max_objects=None))
    assert call(*options, "--out", tmp_path / "any", app=unlimited).exit_code == 0


def test_more_objects_of_one_video_than_fit_are_wrong_use(dataset, tmp_path):
    class Limited(example.Mover):
        def check_memory(self, size, objects, references):
            raise InputError(f"{objects} objects of {size}: none fits")

        def propagate(self, video, jobs):
            pytest.fail("work has begun")

    program = replace(example.PROGRAM, load=lambda request: Limited(request.options), prompts=True)
    labels = np.zeros(SIZE, np.uint8)
    labels[0, :3] = 1, 2, 4
    (tmp_path / "prompts.json").write_text(json.dumps({"a": {"box": [4, 8, 24, 24]}, "b": {"box": [4, 8, 24, 24]}}))
    for source, objects in (
        (["--mask", write_labels(tmp_path / "first.png", labels)], "[3]"),
        (["--prompts", tmp_path / "prompts.json"], "[1, 1]"),
    ):
        options = ["--video", dataset / "JPEGImages" / "aa11", *source, "--out", tmp_path / "out"]
        result = call(*options, app=propagator_app(program))
        assert result.exit_code == 2, result.output
        assert f"error: {objects} objects of (40, 56): none fits" in result.stderr
        assert not (tmp_path / "out").exists()


def test_worker(dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    command = ["--dataset", dataset, "--masks", source, "--out", tmp_path / "out", "--videos", "-"]
    result = call(*command, stdin="bb22\nnowhere\n")
    assert result.exit_code == 1
    events = [json.loads(line) for line in result.stdout.splitlines()]
    ended = {event["video"]: event["event"] for event in events if event["event"] in ("done", "failed")}
    assert ended == {"bb22": "done", "nowhere": "failed"}
    assert {"event": "progress", "video": "bb22", "done": 1, "total": 6} in events
    assert "chatter" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "give either --masks RUN"),
        (["--masks", "a", "--mask", "b", "--out", "x"], "give either --masks RUN"),
        (["--mask", "b", "--out", "x"], "--mask goes with --video"),
        (["--masks", "a", "--masks", "b", "--out", "x"], "expected 2, found 1"),
        (["--masks", "a"], "expected 1, found 0"),
        (["--masks", "a", "--out", "x"], "give either --dataset ROOT or --video PATH"),
        (["--mask", "b", "--video", "a", "--dataset", "data", "--out", "x"], "give either --dataset ROOT or"),
        (["--masks", "b", "--dataset", "data", "--out", "x"], "b: "),
        (["--mask", "b", "--video", "data/JPEGImages/aa11", "--out", "x"], "b: no such image file"),
        (["--masks", "a", "--out", "x", "--config", "huge"], "config huge: expected one of base, tiny"),
        (["--masks", "a", "--out", "x", "--device", "gpu"], "--device gpu"),
        (["--masks", "a", "--out", "x", "--weights", "random"], "expected random:SEED"),
        (["--masks", "a", "--out", "x", "--checkpoint", "c"], "either --checkpoint PATH or --weights random:SEED"),
    ],
)
def test_wrong_use(arguments, message, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(dataset, Path("a"))
    # Options of the case come last, so that they win over the ones that every call gets.
    result = CliRunner().invoke(example.app, [*RANDOM, *arguments], terminal_width=200)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not Path("x").exists()


def test_checkpoint(dataset, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"bad weights")
    command = ["--dataset", dataset, "--masks", write_run(dataset, tmp_path / "source"), "--out"]
    result = call(*command, tmp_path / "bad", weights=("--checkpoint", path))
    assert result.exit_code == 2
    assert "weights.pth: not weights of this model" in result.stderr
    path.write_bytes(b"good weights")
    assert call(*command, tmp_path / "good", weights=("--checkpoint", path)).exit_code == 0
    manifest = MaskRun.open(tmp_path / "good").manifest
    assert manifest.checkpoint_sha256 == hashlib.sha256(b"good weights").hexdigest()
    assert "weights" not in manifest.settings


def test_bundled_weights_are_used_when_none_are_chosen(dataset, tmp_path):
    bundled = BundledWeights(path=tmp_path / "demo.weights", config="tiny")
    bundled.path.write_bytes(b"good weights")
    app = propagator_app(replace(example.PROGRAM, bundled=(bundled,)))
    source = write_run(dataset, tmp_path / "source")

    def run(out, *weights):
        result = call("--dataset", dataset, "--masks", source, "--out", out, app=app, weights=weights)
        assert result.exit_code == 0, result.output
        assert ("weights: demo" in result.output) == (not weights)
        return MaskRun.open(out)

    by_default = run(tmp_path / "default")
    assert by_default.manifest.settings["config"] == "tiny"
    assert run(tmp_path / "chosen", "--checkpoint", bundled.path, "--config", "tiny").manifest == by_default.manifest
    options = ["--dataset", dataset, "--masks", source, "--out", tmp_path / "x", "--config", "base"]
    other = call(*options, app=app, weights=())
    assert other.exit_code == 2
    assert "ships weights of tiny only" in other.output
    assert not (tmp_path / "x").exists()


def test_convert(tmp_path):
    arguments = ["checkpoint", "convert", tmp_path / "published.pth", tmp_path / "ours"]
    assert call(*arguments, "--config", "tiny", weights=()).exit_code == 0
    assert (tmp_path / "ours").read_text() == "converted for tiny"
    assert call(*arguments, weights=()).exit_code == 0
    assert (tmp_path / "ours").read_text() == "converted for base"
    assert call(*arguments, "--config", "huge", weights=()).exit_code == 2


def test_help_names_everything_and_loads_little():
    code = (
        "import runpy, sys; sys.argv = ['example', '--help']\n"
        f"try:\n    runpy.run_path({example.__file__!r}, run_name='__main__')\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *{'av', 'rich', 'torch'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.rstrip().endswith("LOADED")
    common = "dataset split video masks mask frame more-objects out checkpoint weights config videos soft-masks device"
    for option in [*common.split(), "threads", "step", "edge", "sure"]:
        assert f"--{option}" in result.stdout


def test_prompts_point_at_objects(dataset, tmp_path):
    prompted = propagator_app(replace(example.PROGRAM, prompts=True))
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps({"ball": {"frame": 1, "box": [4, 8, 24, 24]}, "dog": {"box": [10, 8, 30, 24]}}))
    arguments = ["--video", dataset / "JPEGImages" / "aa11", "--prompts", file, "--out", tmp_path / "out"]
    result = call(*arguments, app=prompted)
    assert result.exit_code == 0, result.stderr
    masks = MaskRun.open(tmp_path / "out").read("aa11")
    assert masks.expression_ids == ("ball", "dog")
    assert [track.key_frame for track in masks.tracks] == [1, 0]
    np.testing.assert_array_equal(masks.track("ball").mask(1), square(4))
    np.testing.assert_array_equal(masks.track("ball").mask(2), square(6))
    np.testing.assert_array_equal(masks.track("dog").mask(0), square(10))
    assert call(*arguments, app=prompted).exit_code == 0  # the same again
    file.write_text(json.dumps({"ball": {"frame": 1, "box": [4, 8, 24, 25]}}))
    assert "the source.prompts differs" in call(*arguments, app=prompted).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompts", "p.json", "--video", "clip"], "example-propagate takes masks only"),
        (["--prompts", "p.json"], "--prompts goes with --video"),
        (["--prompts", "p.json", "--mask", "m.png", "--video", "clip"], "give either --masks RUN"),
    ],
)
def test_prompts_that_do_not_go_with_the_rest(tmp_path, arguments, words):
    app = example.app if "takes masks" in words else propagator_app(replace(example.PROGRAM, prompts=True))
    result = call(*arguments, "--out", tmp_path / "out", app=app)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_prompt_outside_the_video_is_refused_before_anything_is_loaded(dataset, tmp_path):
    app = propagator_app(replace(example.PROGRAM, prompts=True, load=lambda request: pytest.fail("loaded")))
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps({"ball": {"frame": 9, "box": [4, 8, 24, 24]}}))
    arguments = ["--video", dataset / "JPEGImages" / "aa11", "--prompts", file, "--out", tmp_path / "out"]
    result = call(*arguments, app=app)
    assert result.exit_code == 2
    assert "frame 9 is not in the video" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ("1:", "key frame 0 is not among the frames 1 to"),
        ("70:", "frames 70: are not in the video"),
        ("3:2", "expected A:B with A below B"),
    ],
)
def test_frames_without_the_mask_are_refused_before_the_network_is_loaded(dataset, tmp_path, frames, words):
    (mask := tmp_path / "mask.png").write_bytes(b"")
    Image.fromarray(np.ones(open_dataset(dataset).videos["aa11"].size, np.uint8)).save(mask)
    clip, out = dataset / "JPEGImages" / "aa11", tmp_path / "out"
    result = call("--video", clip, "--mask", mask, "--out", out, "--frames", frames)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not out.exists()
    assert call("--video", clip, "--masks", out, "--frame", 0, "--out", tmp_path / "x").exit_code == 2


def test_some_frames_of_every_mask(dataset, tmp_path):
    """The other frames keep the masks of the source; what was asked for stands in the manifest."""
    source, out = write_run(dataset, tmp_path / "source"), tmp_path / "out"
    for frames, why in (("x", "expected A:B"), ("2:1", "frames 2:1: expected A:B with A below B")):
        result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "no", "--frames", frames)
        assert result.exit_code != 0
        assert why in result.stderr
    result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "no", "--frames", "0:1")
    assert "video aa11: 2 of 2 tracks stay as they are: their key frames are not among the frames 0:1" in result.stderr
    options = ["--masks", source, "--out", out, "--frames", "1:3"]
    assert call("--dataset", dataset, *options).exit_code == 0
    settings = MaskRun.open(out).manifest.settings
    assert settings["frames"] == [1, 3]
    assert "every_mask" not in settings
    before, after = MaskRun.open(source).read("aa11"), MaskRun.open(out).read("aa11")
    for one, other, key_frame in zip(before.tracks, after.tracks, (1, 2), strict=True):
        assert [one.masks[t] == other.masks[t] for t in range(4)] == [t in (0, 3, key_frame) for t in range(4)]
    again = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "every", "--every-mask")
    assert again.exit_code == 0
    run = MaskRun.open(tmp_path / "every")
    assert run.manifest.settings["every_mask"] is True
    assert run.read("aa11").tracks[0].masks == before.tracks[0].masks  # nothing is left to find
    assert call("--dataset", dataset, "--every-mask", "--out", out).exit_code == 2


def test_masks_of_several_frames(dataset, tmp_path):
    first, last = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    first[8:24, 8:24], last[8:24, 30:46] = 1, 1
    masks = [write_labels(tmp_path / f"{name}.png", labels) for name, labels in (("a", first), ("b", last))]
    options = ["--video", dataset / "JPEGImages" / "aa11", "--mask", masks[0], "--mask", masks[1]]
    result = call(*options, "--frame", 0, "--frame", 3, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    run = MaskRun.open(tmp_path / "out")
    assert [mask["frame"] for mask in run.manifest.settings["source"]["masks"]] == [0, 3]
    track = run.read("aa11").track("1")
    for frame, labels in ((0, first), (3, last)):
        np.testing.assert_array_equal(track.mask(frame), labels == 1)
    assert track.mask(1).any()
    turned = ["--mask", masks[1], "--frame", 3, "--mask", masks[0], "--frame", 0]
    assert call(*options[:2], *turned, "--out", tmp_path / "turned").exit_code == 0
    again = MaskRun.open(tmp_path / "turned")
    assert again.manifest == run.manifest
    assert again.read("aa11") == run.read("aa11")
    for frames in ([], ["--frame", 1], ["--frame", 1, "--frame", 1]):
        result = call(*options, *frames, "--out", tmp_path / "no")
        assert result.exit_code == 2
        assert "one --frame for each --mask" in result.stderr


def orders(*asked, arguments, prompts=False):
    """What a worker says to orders, given as JSON or as text."""
    app = propagator_app(replace(example.PROGRAM, prompts=prompts))
    lines = "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in asked)
    result = call(*arguments, "--videos", "-", app=app, stdin=lines)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    return [(event["event"], event.get("error")) for event in events if event["event"] in ("done", "failed")]


def test_a_worker_is_asked_for_some_frames_and_never_takes_what_is_there(dataset, tmp_path):
    source, out = write_run(dataset, tmp_path / "source"), tmp_path / "out"
    arguments = ["--dataset", dataset, "--masks", source, "--out", out]
    asked = [{"video": "aa11", "frames": frames} for frames in ("0:2", "2:4")]
    for count in (1, 2):
        assert orders(*asked[:count], arguments=arguments) == [("done", None)] * count
        before, after = MaskRun.open(source).read("aa11"), MaskRun.open(out).read("aa11")
        changed = {
            t
            for one, other in zip(before.tracks, after.tracks, strict=True)
            for t in range(4)
            if one.masks[t] != other.masks[t]
        }
        assert changed == ({0}, {3})[count - 1]
    assert MaskRun.open(out).made_of("aa11") is None
    assert orders("aa11", arguments=arguments) == [("done", None)]  # all frames: what is there was made otherwise
    track = MaskRun.open(out).read("aa11").tracks[0]
    assert track.masks[0] != before.tracks[0].masks[0]
    assert MaskRun.open(out).made_of("aa11") is not None


def test_a_worker_is_asked_for_what_prompts_point_at(dataset, tmp_path):
    source, out = write_run(dataset, tmp_path / "source", videos=["bb22"]), tmp_path / "out"
    arguments = ["--dataset", dataset, "--masks", source, "--out", out]
    order = {"video": "aa11", "frames": "2:3", "prompts": {"x": {"frame": 2, "box": [4, 8, 24, 24]}}}
    assert orders(order, arguments=arguments, prompts=True) == [("done", None)]
    masks = MaskRun.open(out).read("aa11")
    assert masks.expression_ids == ("x",)
    np.testing.assert_array_equal(masks.tracks[0].mask(2), square(4))
    ((_, error),) = orders(order, arguments=arguments)
    assert "example-propagate takes masks only" in error


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"video": "aa11", "frames": [0, 2]}, "order: frames: expected text, found a list"),
        ({"video": "aa11", "frames": "9:"}, "frames 9: are not in the video, which has frames 0 to 3"),
        ({"video": "aa11", "fps": 3}, "expected frames or prompts, found 'fps'"),
        ({"video": "aa11", "prompts": {}}, "expected at least one object"),
        ({"video": "aa11", "prompts": {"x": {"frame": 7, "box": [0, 0, 1, 1]}}}, "frame 7 is not in the video"),
        ({"video": 3}, "has no video '{"),
        ({"clip": "aa11"}, "has no video '{"),
        ("{aa11", "has no video '{aa11'"),
        ("[" * 500, "has no video '[[["),
    ],
)
def test_orders_that_are_none(dataset, tmp_path, order, message):
    arguments = ["--dataset", dataset, "--masks", write_run(dataset, tmp_path / "source"), "--out", tmp_path / "out"]
    ((event, error), (_, fine)) = orders(order, {"video": "bb22", "frames": ":"}, arguments=arguments, prompts=True)
    assert event == "failed"
    assert message in error
    assert "Traceback" not in error
    assert fine is None


@pytest.mark.parametrize(("frames", "first"), [(None, 1), ("1:4", 0), ("2:", 0)])
def test_the_next_video_of_a_run_is_read_ahead(dataset, tmp_path, frames, first):
    """From the first key frame on that is not empty, counted as the propagator counts."""
    calls = []

    class Ahead(example.Mover):
        def expect(self, begin):
            calls.append(("expect", *begin()))

        def propagate(self, video, jobs):
            calls.append(("propagate", video))
            return super().propagate(video, jobs)

    source = write_run(dataset, tmp_path / "source")
    program = replace(example.PROGRAM, load=lambda request: Ahead(request.options))
    given = ("--dataset", dataset, "--masks", source, "--out", tmp_path / "out")
    part = () if frames is None else ("--frames", frames)
    result = call(*given, *part, app=propagator_app(program))
    assert result.exit_code == 0, result.output
    (_, next_video, start), (_, one), (_, other) = calls
    assert start == first
    assert next_video == other != one


def test_faults_in_masks_of_the_next_video_come_in_its_turn(dataset, tmp_path):
    class Ahead(example.Mover):
        def expect(self, begin):
            with pytest.raises(Exception, match="bb22"):
                begin()

    source = write_run(dataset, tmp_path / "source", videos=["aa11"])
    program = replace(example.PROGRAM, load=lambda request: Ahead(request.options))
    result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out", app=propagator_app(program))
    assert result.exit_code == 1
    assert "failed: bb22" in result.stderr
    assert MaskRun.open(tmp_path / "out").read("aa11").tracks
