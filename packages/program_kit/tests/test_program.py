"""The command line that all programs share, on an example program."""

import errno
import fcntl
import hashlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import typer
from mask_interchange import MaskRun, codec, files
from PIL import Image
from program_kit import progress
from program_kit.segmenter_app import segmenter_app
from program_kit.weights import BundledWeights, WeightsChoice
from typer.testing import CliRunner

EXAMPLE = Path(__file__).with_name("example_program.py")


def load_example():
    spec = importlib.util.spec_from_file_location("example_program", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load_example()


@pytest.fixture
def dataset(tmp_path):
    """Three videos of two frames."""
    root = tmp_path / "data"
    videos = {}
    for number, video in enumerate(["b", "a", "c"]):
        folder = root / "JPEGImages" / video
        folder.mkdir(parents=True)
        for frame in ("00000", "00005"):
            Image.fromarray(np.full((8, 12, 3), 40 * number + 25, np.uint8)).save(folder / f"{frame}.jpg")
        videos[video] = {
            "frames": ["00000", "00005"],
            "expressions": {"0": {"exp": "the thing", "obj_id": 1}, "1": {"exp": "very very very bright thing"}},
        }
    (root / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    return root


def edit(dataset: Path, change) -> None:
    path = dataset / "meta_expressions.json"
    tree = json.loads(path.read_text())
    change(tree["videos"])
    path.write_text(json.dumps(tree))


def infer(dataset: Path, out: Path, *arguments: object, weights=("--weights", "random:0"), stdin: str | None = None):
    command = ["--dataset", dataset, "--out", out, *weights, *arguments]
    return CliRunner().invoke(example.app, [str(a) for a in command], input=stdin)


def test_a_run_is_made_and_continued(dataset, tmp_path):
    out = tmp_path / "run"
    result = infer(dataset, out)
    assert result.exit_code == 0, result.output
    assert "weights: random, seed 0" in result.stderr
    assert "[1/3] b: done" in result.stderr
    run = MaskRun.open(out)
    assert run.videos() == ["a", "b", "c"]
    assert run.manifest.producer == "example-infer"
    assert run.manifest.producer_version == "1.2.3"
    assert run.manifest.settings == {
        "config": "base",
        "tokenizer": "some/tokenizer",
        "soft_masks": None,
        "precision": "strict",
        "threads": run.manifest.settings["threads"],
        "weights": "random:0",
    }
    masks = run.read("c")
    assert masks.frame_names == ("00000", "00005")
    assert masks.track("0").expression.group == "1"
    assert masks.track("0").mask(0).all()
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.masks")}
    (out / "videos" / "a.masks").unlink()
    result = infer(dataset, out)
    assert result.exit_code == 0
    assert "2 videos are finished already, 1 to do" in result.stderr
    changed = {p.name for p in out.rglob("*.masks") if p.stat().st_mtime_ns != before[p]}
    assert changed == {"a.masks"}


def test_a_frame_of_16_bits_costs_its_video_alone(dataset, tmp_path):
    Image.fromarray(np.zeros((8, 12), np.uint16)).save(dataset / "JPEGImages" / "b" / "00005.jpg", "PNG")
    result = infer(dataset, tmp_path / "run")
    assert result.exit_code == 1
    assert "expected an image of 8 bits a channel, found mode I;16" in result.stderr
    assert MaskRun.open(tmp_path / "run").videos() == ["a", "c"]


def test_soft_masks_that_no_file_holds_fail_before_anything_is_computed(dataset, tmp_path, monkeypatch):
    """The limit is 2**29 bytes a file; here 400. A video of one expression has room, the others have not."""
    monkeypatch.setattr(codec, "MAX_SOFT", 300)
    edit(dataset, lambda videos: videos["a"]["expressions"].pop("1"))
    seen = []
    monkeypatch.setattr(example.Predictor, "predict", watched(example.Predictor.predict, seen))
    result = infer(dataset, tmp_path / "run", "--soft-masks", 12)
    assert result.exit_code == 1
    assert "video 'b': soft masks of 2 frames and 2 expressions take 384 bytes, more than the 300" in result.stderr
    assert "give --soft-masks 10 or less, or fewer expressions" in result.stderr
    assert seen == ["a"]
    assert MaskRun.open(tmp_path / "run").videos() == ["a"]


def test_masks_that_no_file_holds_are_their_video_s_failure(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(codec, "MAX_UNPACKED", 7)
    edit(dataset, lambda videos: videos["a"]["expressions"].pop("1"))
    result = infer(dataset, tmp_path / "run", "--videos", "-", stdin="b\na\nc\n")
    assert result.exit_code == 1
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events if event["event"] in {"done", "failed"}] == ["failed", "done", "failed"]
    assert "video 'b': bytes of masks: expected at most 7 in a file" in events[-1]["error"].replace("'c'", "'b'")


def watched(predict, seen):
    def wrapper(self, video, progress):
        seen.append(video.id)
        return predict(self, video, progress)

    return wrapper


def test_other_settings_are_refused(dataset, tmp_path):
    assert infer(dataset, tmp_path / "run").exit_code == 0
    result = infer(dataset, tmp_path / "run", weights=("--weights", "random:1"))
    assert result.exit_code == 2
    assert "setting weights: was random:0, is random:1" in result.stderr


def test_a_failed_try_does_not_stand_in_the_way_of_the_next(dataset, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"bad weights")
    assert infer(dataset, tmp_path / "run", weights=("--checkpoint", path)).exit_code == 2
    assert not (tmp_path / "run").exists()
    broken(dataset, "refuse")
    assert infer(dataset, tmp_path / "run", "--videos", "a").exit_code == 1
    assert MaskRun.open(tmp_path / "run").videos() == []
    assert infer(dataset, tmp_path / "run", "--videos", "b", weights=("--weights", "random:3")).exit_code == 0
    assert MaskRun.open(tmp_path / "run").manifest.settings["weights"] == "random:3"


def test_a_run_goes_on_with_the_threads_that_it_was_begun_with(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert infer(dataset, tmp_path / "run", "--videos", "b").exit_code == 0
    assert MaskRun.open(tmp_path / "run").manifest.settings["threads"] == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert infer(dataset, tmp_path / "run").exit_code == 0
    assert os.environ["OMP_NUM_THREADS"] == "3"
    refused = infer(dataset, tmp_path / "run", "--threads", "2")
    assert refused.exit_code == 2
    assert "setting threads: was 3, is 2" in refused.stderr
    assert infer(dataset, tmp_path / "other", "--threads", "2").exit_code == 0
    assert MaskRun.open(tmp_path / "other").manifest.settings["threads"] == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("sentence", "the sentences differ: number 2 was very very very bright thing, is a dog in video 'b'"),
        ("more", "the sentences differ: number 3 was not given, is a cat in video 'b'"),
        ("group", "the ids or the groups of the sentences differ in video 'b'"),
        ("frames", "the frames differ: number 2 was 00005, is not given in video 'b'"),
        ("video", "the videos differ: the run has 'b', which is not in data"),
        ("other", "the data set differs in videos that the run does not have yet"),
    ],
)
def test_another_data_set_is_refused_in_words(dataset, tmp_path, change, words):
    assert infer(dataset, tmp_path / "run", "--videos", "b").exit_code == 0

    def alter(videos):
        match change:
            case "sentence":
                videos["b"]["expressions"]["1"]["exp"] = "a dog"
            case "more":
                videos["b"]["expressions"]["2"] = {"exp": "a cat"}
            case "group":
                videos["b"]["expressions"]["0"]["obj_id"] = 2
            case "frames":
                videos["b"]["frames"].pop()
            case "video":
                del videos["b"]
            case "other":
                del videos["c"]

    edit(dataset, alter)
    result = infer(dataset, tmp_path / "run")
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr) < 600


def test_other_pixels_of_ones_own_video_are_refused_in_words(dataset, tmp_path):
    command = ["--video", str(dataset / "JPEGImages" / "a"), "-e", "a dog", "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(example.app, [*command, "--weights", "random:0"]).exit_code == 0
    repaint(dataset, "a")
    result = CliRunner().invoke(example.app, [*command, "--weights", "random:0"])
    assert result.exit_code == 2
    assert "the frames differ: a has other pixels" in result.stderr


def test_the_short_side_is_an_option_where_a_program_has_one(dataset, tmp_path):
    result = infer(dataset, tmp_path / "run", "--short-side", "240")
    assert result.exit_code == 2
    assert "--short-side: example-infer chooses the size of frames by itself" in result.stderr
    requests = []

    def load(request):
        requests.append(request)
        return example.load(request)

    sized = segmenter_app(replace(example.PROGRAM, short_side=360, load=load))
    for run, arguments, wanted in (("default", (), 360), ("larger", ("--short-side", "432"), 432)):
        command = ["--dataset", dataset, "--out", tmp_path / run, "--weights", "random:0", *arguments]
        assert CliRunner().invoke(sized, list(map(str, command))).exit_code == 0
        assert requests[-1].short_side == wanted
        assert MaskRun.open(tmp_path / run).manifest.settings["short_side"] == wanted


def test_what_a_checkpoint_says_of_itself_is_the_default(dataset, tmp_path):
    requests = []

    def load(request):
        requests.append(request)
        return example.load(replace(request, weights=WeightsChoice(seed=0)))

    sized = segmenter_app(replace(example.PROGRAM, short_side=360, load=load))
    header = {"format": "rvos-fusion 1", "model": "example", "config": "tiny", "short_side": "96"}
    content = json.dumps({"__metadata__": header}).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    for run, arguments, wanted in (("own", (), ("tiny", 96)), ("other", ("--short-side", "48"), ("tiny", 48))):
        command = ["--dataset", dataset, "--out", tmp_path / run, "--checkpoint", path, *arguments]
        assert CliRunner().invoke(sized, list(map(str, command))).exit_code == 0
        assert (requests[-1].config, requests[-1].short_side) == wanted
        settings = MaskRun.open(tmp_path / run).manifest.settings
        assert (settings["config"], settings["short_side"]) == wanted


def test_checkpoint(dataset, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"good weights")
    assert infer(dataset, tmp_path / "run", weights=("--checkpoint", path)).exit_code == 0
    manifest = MaskRun.open(tmp_path / "run").manifest
    assert manifest.checkpoint_sha256 == hashlib.sha256(b"good weights").hexdigest()
    assert "weights" not in manifest.settings
    path.write_bytes(b"bad weights")
    result = infer(dataset, tmp_path / "other", weights=("--checkpoint", path))
    assert result.exit_code == 2
    assert "weights.pth: not weights of this model" in result.stderr


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ((), "either --checkpoint PATH or --weights random:SEED"),
        (("--weights", "random:0", "--checkpoint", "x"), "either --checkpoint PATH or --weights random:SEED"),
        (("--weights", "random"), "expected random:SEED"),
        (("--weights", "random:-1"), "expected random:SEED"),
        (("--checkpoint", "absent.pth"), "absent.pth: no such file"),
    ],
)
def test_weights_must_be_chosen(dataset, tmp_path, weights, words):
    result = infer(dataset, tmp_path / "run", weights=weights)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.fixture
def shipping(tmp_path):
    """The example program with weights of its own, and the requests that it got."""
    path = tmp_path / "demo.weights"
    path.write_bytes(b"good weights")
    requests = []

    def load(request):
        requests.append(request)
        return example.load(request)

    demo = BundledWeights(path=path, config="tiny", short_side=96)
    return segmenter_app(replace(example.PROGRAM, short_side=360, bundled=(demo,), load=load)), requests


def test_shipped_weights_are_used_when_none_are_asked_for(dataset, tmp_path, shipping):
    app, requests = shipping
    result = CliRunner().invoke(app, ["--dataset", str(dataset), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if "weights" in line] == [
        "example-infer: weights: demo (a small network trained on synthetic videos; --checkpoint PATH takes published"
        " ones)"
    ]
    assert (requests[0].config, requests[0].short_side) == ("tiny", 96)
    manifest = MaskRun.open(tmp_path / "run").manifest
    assert manifest.checkpoint_sha256 == hashlib.sha256(b"good weights").hexdigest()
    assert manifest.settings["config"] == "tiny"
    assert manifest.settings["short_side"] == 96


@pytest.mark.parametrize(
    ("arguments", "config", "short_side"),
    [
        (["--config", "tiny"], "tiny", 96),
        (["--config", "tiny", "--weights", "random:0"], "tiny", 96),
        (["--short-side", "80"], "tiny", 80),
        (["--weights", "random:0"], "base", 360),
    ],
)
def test_what_goes_with_shipped_weights(dataset, tmp_path, shipping, arguments, config, short_side):
    app, requests = shipping
    result = CliRunner().invoke(app, ["--dataset", str(dataset), "--out", str(tmp_path / "run"), *arguments])
    assert result.exit_code == 0, result.stderr
    assert (requests[0].config, requests[0].short_side) == (config, short_side)


@pytest.fixture
def shipping_two(tmp_path, shipping):
    """The example program with two networks' weights, the second of which stands for `base`, and its requests."""
    _, requests = shipping
    first = BundledWeights(path=tmp_path / "demo.weights", config="tiny", short_side=96)
    second = BundledWeights(path=tmp_path / "second.weights", config="small", stands_for="base", short_side=48)
    second.path.write_bytes(b"good weights")

    def load(request):
        requests.append(request)
        return example.load(request)

    program = replace(example.PROGRAM, configs=("base", "tiny", "small"), bundled=(first, second), short_side=360)
    return segmenter_app(replace(program, load=load)), requests


@pytest.mark.parametrize(
    ("arguments", "weights", "short_side"),
    [
        ([], "demo.weights", 96),
        (["--config", "tiny"], "demo.weights", 96),
        (["--config", "small"], "second.weights", 48),
        (["--config", "base"], "second.weights", 48),
    ],
)
def test_the_configuration_chooses_among_shipped_weights(
    dataset, tmp_path, shipping_two, arguments, weights, short_side
):
    app, requests = shipping_two
    result = CliRunner().invoke(app, ["--dataset", str(dataset), "--out", str(tmp_path / "run"), *arguments])
    assert result.exit_code == 0, result.stderr
    assert requests[0].weights.checkpoint == tmp_path / weights
    assert requests[0].short_side == short_side


def test_a_configuration_whose_weights_are_not_there_is_told_which_are(dataset, tmp_path, shipping_two):
    app, _ = shipping_two
    (tmp_path / "second.weights").unlink()
    result = CliRunner().invoke(app, ["--dataset", str(dataset), "--out", str(tmp_path / "run"), "--config", "base"])
    assert result.exit_code == 2
    assert "ships weights of tiny only" in result.stderr


def test_weights_that_are_not_there_are_not_shipped(dataset, tmp_path, shipping):
    app, _ = shipping
    (tmp_path / "demo.weights").unlink()
    result = CliRunner().invoke(app, ["--dataset", str(dataset), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert "either --checkpoint PATH or --weights random:SEED" in result.stderr


def test_shipped_weights_are_of_one_configuration(dataset, tmp_path, shipping):
    app, requests = shipping
    for config, words in (("base", "ships weights of tiny only; give either"), ("huge", "expected one of")):
        command = ["--dataset", str(dataset), "--out", str(tmp_path / "run"), "--config", config]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        assert words in result.stderr
    assert not requests
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give --out RUN"),
        (["--out", "run"], "either --dataset ROOT or --video PATH"),
        (["--out", "run", "--dataset", ".", "--video", "."], "either --dataset ROOT or --video PATH"),
        (["--out", "run", "--dataset", "absent"], "absent: expected a data set's folder, found nothing"),
        (["--out", "run", "--dataset", "."], "expected the files of a data set"),
        (["--out", "run", "--dataset", ".", "-e", "a dog"], "go with --video"),
        (["--out", "run", "--video", "absent.mp4", "-e", "a dog"], "absent.mp4: no such video file"),
        (["--out", "run", "--video", "frames"], "at least one --expression"),
        (["--out", "run", "--video", "frames", "-e", " "], "found an empty one"),
        (["--out", "run", "--video", "frames", "--split", "valid"], "--split goes with --dataset"),
        (["--out", "run", "--video", "frames", "--expressions", "absent.txt"], "absent.txt: cannot be read"),
        (["--out", "run", "--video", "frames", "--expressions", "latin.txt"], "byte 0xe9 at offset 3"),
        (["--out", "run", "--video", "frames", "-e", "a", "--config", "huge"], "expected one of base, tiny"),
        (["--out", "run", "--video", "frames", "-e", "a", "--device", "gpu"], "expected auto, cpu, cuda"),
        (["--out", "run", "--video", "frames", "-e", "a", "--videos", "nowhere"], "no video 'nowhere'; it has frames"),
        (["--out", "latin.txt", "--video", "frames", "-e", "a"], "latin.txt: expected a folder or nothing"),
        (["--out", "frames", "--video", "frames", "-e", "a"], "frames: expected an empty folder or a run"),
    ],
)
def test_wrong_use(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (5, 4)).save("frames/0.png")
    (tmp_path / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    result = CliRunner().invoke(example.app, [*arguments, "--weights", "random:0"])
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run" / "videos" / "frames.masks").exists()


def test_own_frames_with_sentences_from_both_places(tmp_path):
    folder = tmp_path / "my clip: 1"
    folder.mkdir()
    for i in (1, 2, 10):
        Image.new("RGB", (5, 4)).save(folder / f"f{i}.png")
    (tmp_path / "more.txt").write_text("zwei Hunde\nდაფა\n", encoding="utf-8")
    arguments = ["--video", folder, "-e", "a dog", "--expressions", tmp_path / "more.txt", "--out", tmp_path / "run"]
    result = CliRunner().invoke(example.app, [*map(str, arguments), "--weights", "random:0"])
    assert result.exit_code == 0, result.output
    masks = MaskRun.open(tmp_path / "run").read("my clip_ 1")
    assert masks.frame_names == ("f1", "f2", "f10")
    assert [(t.expression.id, t.expression.text) for t in masks.tracks] == [
        ("0", "a dog"),
        ("1", "zwei Hunde"),
        ("2", "დაფა"),
    ]


def broken(dataset: Path, fault: str) -> str:
    """Break video `a`; returns what the message must say."""
    frame = dataset / "JPEGImages" / "a" / "00005.jpg"
    if fault == "missing":
        frame.unlink()
        return "video 'a': frame '00005' is missing"
    if fault == "unreadable":
        frame.write_bytes(b"no picture")
        return "a/00005.jpg: not a JPEG or PNG image"
    if fault == "truncated":
        frame.write_bytes(frame.read_bytes()[:-60])
        return "a/00005.jpg: unreadable image"
    if fault == "size":
        Image.new("RGB", (12, 9)).save(frame)
        return "expected 12x8 pixels as frame '00000', found 12x9 in frame '00005'"
    if fault == "blank":
        edit(dataset, lambda videos: videos["a"]["expressions"]["1"].update(exp="  "))
        return "video 'a': expression '1': expected text with words in it, found an empty one"
    if fault == "surrogate":
        edit(dataset, lambda videos: videos["a"]["expressions"]["1"].update(exp="dog \ud800"))
        return "video 'a': expression '1': text is not valid Unicode at position 4"
    if fault == "no expressions":
        edit(dataset, lambda videos: videos["a"].update(expressions={}))
        return "video 'a': has no expressions"
    if fault == "no frames":
        edit(dataset, lambda videos: videos["a"].update(frames=[]))
        return "video 'a': expected at least one frame"
    edit(dataset, lambda videos: videos["a"]["expressions"]["1"].update(exp=fault))
    return {"refuse": "cannot do that", "crash": "RuntimeError: a bug"}[fault]


FAULTS = ["missing", "unreadable", "truncated", "size", "blank", "surrogate", "no expressions", "no frames"]


@pytest.mark.parametrize("fault", [*FAULTS, "refuse", "crash"])
def test_one_bad_video_does_not_stop_the_rest(dataset, tmp_path, fault):
    message = broken(dataset, fault)
    result = infer(dataset, tmp_path / "run")
    assert result.exit_code == 1
    assert MaskRun.open(tmp_path / "run").videos() == ["b", "c"]
    last = result.stderr[result.stderr.index("failed: a: ") :]
    assert message in last
    assert ("Traceback" in last) == (fault == "crash")


def test_chosen_videos(dataset, tmp_path):
    assert infer(dataset, tmp_path / "run", "--videos", "c,a,c").exit_code == 0
    assert MaskRun.open(tmp_path / "run").videos() == ["a", "c"]


def test_full_disk_stops_with_a_clear_message(dataset, tmp_path, monkeypatch):
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 6:  # manifest, record and masks of the first video, each with its folder, still fit
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    result = infer(dataset, tmp_path / "run")
    assert result.exit_code == 1
    assert "the disk is full" in result.stderr
    assert "c: done" not in result.stderr
    assert [p.name for p in (tmp_path / "run" / "videos").iterdir()] == ["b.masks"]
    monkeypatch.undo()
    assert infer(dataset, tmp_path / "run").exit_code == 0
    assert MaskRun.open(tmp_path / "run").videos() == ["a", "b", "c"]


def test_worker(dataset, tmp_path):
    (dataset / "JPEGImages" / "a" / "00000.jpg").unlink()
    assert infer(dataset, tmp_path / "run", "--videos", "b").exit_code == 0
    result = infer(dataset, tmp_path / "run", "--videos", "-", stdin="c\n\na\r\nnowhere\n../a\nb\n")
    assert result.exit_code == 1
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(e["event"], e["video"]) for e in events if e["event"] not in ("progress", "alive")] == [
        ("started", "c"),
        ("done", "c"),
        ("started", "a"),
        ("failed", "a"),
        ("started", "nowhere"),
        ("failed", "nowhere"),
        ("started", "../a"),
        ("failed", "../a"),
        ("started", "b"),
        ("done", "b"),
    ]
    progress = [e for e in events if e["event"] == "progress"]
    assert progress[0] == {"event": "progress", "video": "c", "done": 1, "total": 2}
    assert "'00000' is missing" in next(e["error"] for e in events if e["event"] == "failed")
    assert "chatter" in result.stderr
    assert MaskRun.open(tmp_path / "run").videos() == ["b", "c"]


def repaint(dataset: Path, video: str) -> None:
    """Other frames for a video, under the names of the old ones."""
    for frame in (dataset / "JPEGImages" / video).iterdir():
        Image.fromarray(np.full((8, 12, 3), 250, np.uint8)).save(frame)


def test_a_video_whose_frames_have_changed_is_made_again(dataset, tmp_path):
    assert infer(dataset, tmp_path / "run").exit_code == 0
    before = {video: (tmp_path / "run" / "videos" / f"{video}.masks").read_bytes() for video in "abc"}
    repaint(dataset, "b")
    result = infer(dataset, tmp_path / "run")
    assert result.exit_code == 0
    assert "1 videos are made again: their frames or source masks have changed" in result.stderr
    assert "2 videos are finished already, 1 to do" in result.stderr
    after = {video: (tmp_path / "run" / "videos" / f"{video}.masks").read_bytes() for video in "abc"}
    assert [video for video in "abc" if after[video] != before[video]] == ["b"]
    repaint(dataset, "c")
    worker = infer(dataset, tmp_path / "run", "--videos", "-", stdin="c\nb\n")
    assert [json.loads(line)["video"] for line in worker.stdout.splitlines() if "progress" in line] == ["c"] * 4


def test_masks_that_an_orphan_left_are_made_again(dataset, tmp_path):
    """As by a worker of a killed runner: whole, newer than the frames, and of other ones."""
    assert infer(dataset, tmp_path / "run").exit_code == 0
    good = (tmp_path / "run" / "videos" / "b.masks").read_bytes()
    repaint(dataset, "b")
    assert infer(dataset, tmp_path / "run").exit_code == 0
    changed = (tmp_path / "run" / "videos" / "b.masks").read_bytes()
    (tmp_path / "run" / "videos" / "b.masks").write_bytes(good)
    assert infer(dataset, tmp_path / "run").exit_code == 0
    assert (tmp_path / "run" / "videos" / "b.masks").read_bytes() == changed


def test_frames_that_change_while_they_are_processed_fail_the_video(dataset, tmp_path):
    class Slow:
        def predict(self, video, progress):
            masks = example.Predictor(None).predict(video, progress)
            repaint(dataset, "b") if video.id == "b" else None
            return masks

    app = segmenter_app(replace(example.PROGRAM, load=lambda request: Slow()))
    command = ["--dataset", str(dataset), "--out", str(tmp_path / "run"), "--weights", "random:0"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "video 'b': its frames or source masks changed while it was processed" in result.stderr
    assert MaskRun.open(tmp_path / "run").videos() == ["a", "c"]


def start(dataset: Path, out: Path, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, EXAMPLE, "--dataset", dataset, "--out", out, "--weights", "random:0", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen([str(a) for a in command], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def wait_for(process: subprocess.Popen, event: str) -> None:
    for line in process.stdout:
        if json.loads(line)["event"] == event:
            return
    raise AssertionError(process.stderr.read())


def test_interrupted_worker_and_a_second_writer(dataset, tmp_path):
    edit(dataset, lambda videos: videos["c"]["expressions"]["1"].update(exp="wait"))
    out = tmp_path / "run"
    first = start(dataset, out, "--videos", "-")
    try:
        first.stdin.write("b\nc\n")
        first.stdin.flush()
        wait_for(first, "done")
        wait_for(first, "progress")
        second = infer(dataset, out)
        assert second.exit_code == 2
        assert "another process is writing here" in second.stderr
        assert infer(dataset, out, "--videos", "-", stdin="a\n").exit_code == 0, "workers share"
        first.send_signal(signal.SIGINT)
        _, errors = first.communicate(timeout=30)
    finally:
        first.kill()
    assert first.returncode == 130
    assert "Traceback" not in errors
    assert "interrupted" in errors
    assert sorted(p.name for p in (out / "videos").iterdir()) == ["a.masks", "b.masks"]


@pytest.mark.parametrize("sentence", ["wait", "a thing"])
def test_a_worker_that_nobody_hears_ends_and_writes_nothing(dataset, tmp_path, sentence):
    """Its runner was killed: in the middle of a long computation it notices too, though nothing is there to be told."""
    edit(dataset, lambda videos: videos["b"]["expressions"]["1"].update(exp=sentence))
    out = tmp_path / "run"
    worker = start(dataset, out, "--videos", "-")
    try:
        if sentence == "wait":
            worker.stdin.write("b\n")
            worker.stdin.flush()
            wait_for(worker, "progress")
            wait_for(worker, "alive")
            worker.stdout.close()
        else:
            worker.stdout.close()
            worker.stdin.write("b\n")
            worker.stdin.flush()
        assert worker.wait(timeout=60) == 1
        assert "nobody reads the events any more" in worker.stderr.read()
    finally:
        worker.kill()
    assert MaskRun.open(out).videos() == []


def test_killed_while_writing(dataset, tmp_path):
    """What `kill -9` leaves behind is neither a finished video nor in the way."""
    out = tmp_path / "run"
    assert infer(dataset, out, "--videos", "b").exit_code == 0
    (out / "videos" / ".writing-abc.tmp").write_bytes(b"half a file")
    assert MaskRun.open(out).videos() == ["b"]
    assert infer(dataset, out).exit_code == 0
    assert sorted(p.name for p in (out / "videos").iterdir()) == ["a.masks", "b.masks", "c.masks"]


def test_help_names_everything_and_loads_little():
    code = (
        "import runpy, sys; sys.argv = ['example', '--help']\n"
        f"try:\n    runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *{'av', 'rich', 'torch'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.rstrip().endswith("LOADED")
    options = "dataset split video expression expressions out checkpoint weights config tokenizer videos device threads"
    for option in options.split():
        assert f"--{option}" in result.stdout


def test_convert(tmp_path):
    (tmp_path / "published.pth").write_bytes(b"good weights")
    arguments = ["checkpoint", "convert", str(tmp_path / "published.pth"), str(tmp_path / "ours"), "--config", "tiny"]
    assert CliRunner().invoke(example.app, arguments).exit_code == 0
    assert (tmp_path / "ours").read_text() == "converted for tiny"
    (tmp_path / "published.pth").write_bytes(b"bad")
    result = CliRunner().invoke(example.app, arguments)
    assert result.exit_code == 2
    assert "not weights of this model" in result.stderr


def test_bars_on_a_terminal(dataset, tmp_path, monkeypatch):
    """On a terminal: bars instead of lines, names from data shown as they are."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    from mask_interchange import open_dataset
    from mask_interchange.run import RunManifest
    from program_kit.outputs import OutputRuns
    from program_kit.run_loop import run_videos
    from program_kit.segmenter_app import ModelRequest

    broken(dataset, "refuse")
    data = open_dataset(dataset)
    run = MaskRun.create(tmp_path / "run", RunManifest(producer="x", producer_version="1", dataset=data.identity))
    request = ModelRequest(config="base", weights=WeightsChoice(seed=0), tokenizer="t", device="cpu")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    predictor = example.load(request)

    def process(video, progress, details):
        return (predictor.predict(video, progress),)

    assert run_videos(OutputRuns([run]), data, lambda: process, error=example.ExampleError) == 1
    assert "videos" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
    assert "failed: a: cannot do that" in terminal.getvalue()


def test_a_list_of_videos_is_read_one_ahead(dataset, tmp_path):
    from mask_interchange import open_dataset
    from mask_interchange.run import RunManifest
    from program_kit.outputs import OutputRuns
    from program_kit.run_loop import run_videos
    from program_kit.segmenter_app import ModelRequest

    data = open_dataset(dataset)
    run = MaskRun.create(tmp_path / "run", RunManifest(producer="x", producer_version="1", dataset=data.identity))
    predictor = example.load(ModelRequest(config="base", weights=WeightsChoice(seed=0), tokenizer="t", device="cpu"))
    calls = []

    class Process:
        def __call__(self, video, progress, details):
            calls.append(("masks", video.id))
            given.append(video)
            return (predictor.predict(video, progress),)

        def expect(self, video):
            calls.append(("expect", video.id))
            expected.append(video)

    given, expected = [], []
    assert run_videos(OutputRuns([run]), data, Process, error=example.ExampleError) == 0
    first, second, *rest = data.videos
    assert calls[:4] == [("expect", second), ("masks", first), ("expect", rest[0]), ("masks", second)]
    assert calls[-1] == ("masks", rest[-1])
    assert all(one is other for one, other in zip(expected, given[1:], strict=True))  # or it would be read twice


def test_a_long_video_is_heard_of_now_and_then(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "_LINE_EVERY", -1)
    result = infer(dataset, tmp_path / "run", "--videos", "b")
    assert "[1/1] b: 1 of 2" in result.stderr


def test_lock_is_advisory_and_ends_with_the_writer(dataset, tmp_path):
    out = tmp_path / "run"
    assert infer(dataset, out, "--videos", "a").exit_code == 0
    with open(out / ".lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert infer(dataset, out).exit_code == 2
        assert MaskRun.open(out).read("a"), "readers do not care"
    assert infer(dataset, out).exit_code == 0


def test_a_folder_may_be_the_checkpoint_where_the_program_says_so(dataset, tmp_path):
    folder = tmp_path / "weights"
    (folder / "text").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"good weights")
    (folder / "text" / "vocab.txt").write_bytes(b"words")
    (folder / ".cache").write_bytes(b"not a part")
    app = segmenter_app(replace(example.PROGRAM, checkpoint="folder", load=lambda request: example.Predictor(request)))
    result = CliRunner().invoke(
        app, ["--dataset", str(dataset), "--out", str(tmp_path / "run"), "--checkpoint", str(folder)]
    )
    assert result.exit_code == 0, result.stderr
    hashes = {
        name: hashlib.sha256(data).hexdigest() for name, data in [("model", b"good weights"), ("vocab", b"words")]
    }
    listed = f"{hashes['model']}  model.safetensors\n{hashes['vocab']}  text/vocab.txt\n"
    assert MaskRun.open(tmp_path / "run").manifest.checkpoint_sha256 == hashlib.sha256(listed.encode()).hexdigest()

    file = ["--checkpoint", str(folder / "model.safetensors")]
    result = CliRunner().invoke(app, ["--dataset", str(dataset), "--out", str(tmp_path / "other"), *file])
    assert result.exit_code == 2
    assert "model.safetensors: no such folder" in result.stderr
    assert "weights: no such file" in infer(dataset, tmp_path / "other", weights=("--checkpoint", folder)).stderr


def test_a_program_that_takes_published_weights_as_they_are_converts_nothing(tmp_path):
    app = segmenter_app(replace(example.PROGRAM, convert=None))
    assert "checkpoint convert" not in CliRunner().invoke(app, ["--help"]).stdout
    assert CliRunner().invoke(app, ["checkpoint", "convert", "a", "b"]).exit_code == 2


def test_a_program_that_brings_its_own_weights_needs_no_option(dataset, tmp_path):
    app = segmenter_app(replace(example.PROGRAM, own_weights=True))
    result = CliRunner().invoke(app, ["--dataset", str(dataset), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.stderr
    assert "weights: the program's own" in result.stderr
    manifest = MaskRun.open(tmp_path / "run").manifest
    assert manifest.checkpoint_sha256 is None
    assert "weights" not in manifest.settings


@dataclass(frozen=True, kw_only=True)
class OwnOptions:
    limit: Annotated[float, typer.Option(min=0, help="Below this nothing counts.")] = 0.5


def test_a_program_has_options_of_its_own_and_may_bring_its_tokenizer(dataset, tmp_path):
    requests = []

    def load(request):
        requests.append(request)
        return example.load(request)

    app = segmenter_app(
        replace(
            example.PROGRAM,
            tokenizer=None,
            load=load,
            options=OwnOptions,
            settings=lambda request: {"limit": request.options.limit},
        )
    )
    command = ["--dataset", str(dataset), "--out", str(tmp_path / "run"), "--weights", "random:0"]
    assert CliRunner().invoke(app, [*command, "--limit", "0.25"]).exit_code == 0
    assert requests[0].options == OwnOptions(limit=0.25)
    assert requests[0].tokenizer == ""
    settings = MaskRun.open(tmp_path / "run").manifest.settings
    assert settings["limit"] == 0.25
    assert "tokenizer" not in settings
    assert CliRunner().invoke(app, command).exit_code == 2  # the run there has another limit
    result = CliRunner().invoke(app, [*command, "--tokenizer", "some"])
    assert result.exit_code == 2
    assert "takes the one beside its weights" in result.stderr


def test_one_bad_video_does_not_stop_the_others():
    """The short form of tools/attacks/bad_videos.py."""
    script = Path(__file__).parents[3] / "tools" / "attacks" / "bad_videos.py"
    done = subprocess.run([sys.executable, script, "--videos", "3"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2 of 2 sound videos done, the bad one named") == 10
