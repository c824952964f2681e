"""The commands as a user calls them, on drawn and on real videos."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from aot_deaot import cli
from aot_deaot.checkpoint import random_network, save_network
from aot_deaot.cli import propagator_app
from aot_deaot.config import named_config
from golden_cases import find_cases
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from PIL import Image
from program_kit.weights import BundledWeights
from typer.testing import CliRunner

from .published import published_state

SIZE = (40, 56)
FRAMES = [f"{t:05d}" for t in range(4)]
SMOKE = ["--config", "tiny", "--weights", "random:0", "--device", "cpu", "--scales", "1.0"]


def call(*arguments, family="aot", smoke=SMOKE, stdin=None):
    return CliRunner().invoke(propagator_app(family), [*map(str, arguments), *smoke], input=stdin)


def draw_dataset(root, expressions=("a square", "another one")):
    meta = {"videos": {}}
    for index, video in enumerate(("aa11", "bb22")):
        folder = root / "JPEGImages" / video
        folder.mkdir(parents=True)
        for t, name in enumerate(FRAMES):
            pixels = np.random.default_rng(10 * index + t).integers(0, 90, (*SIZE, 3), dtype=np.uint8)
            pixels[8:24, 4 + 4 * t : 24 + 4 * t] += 120
            Image.fromarray(pixels).save(folder / f"{name}.jpg")
        meta["videos"][video] = {
            "frames": FRAMES,
            "expressions": {str(i): {"exp": text} for i, text in enumerate(expressions)},
        }
    (root / "meta_expressions.json").write_text(json.dumps(meta))
    return root


@pytest.fixture
def dataset(tmp_path):
    return draw_dataset(tmp_path / "data")


def square(t, start=4):
    mask = np.zeros(SIZE, bool)
    mask[8:24, start + 4 * t : start + 20 + 4 * t] = True
    return mask


def write_run(dataset, path, key_frames=(1, 2), identity=None, videos=None):
    data = open_dataset(dataset)
    manifest = RunManifest(producer="test", producer_version="1", dataset=identity or data.identity)
    run = MaskRun.create(path, manifest)
    for name in videos or data.videos:
        video = data.videos[name]
        tracks = [
            MaskTrack.from_masks(expression, [square(t, 4 + index) for t in range(len(FRAMES))], key_frame=key)
            for index, (expression, key) in enumerate(zip(video.expressions, key_frames, strict=True))
        ]
        run.write(VideoMasks(video=name, size=SIZE, frame_names=video.frame_names, tracks=tuple(tracks)))
    return path


@pytest.mark.parametrize("family", ["aot", "deaot"])
def test_several_runs_equal_one_at_a_time(dataset, tmp_path, family):
    first = write_run(dataset, tmp_path / "first")
    second = write_run(dataset, tmp_path / "second", (3, 0))
    both = ["--masks", first, "--out", tmp_path / "x", "--masks", second, "--out", tmp_path / "y"]
    result = call("--dataset", dataset, *both, family=family)
    assert result.exit_code == 0, result.output
    for source, name in ((first, "x"), (second, "y")):
        alone = call("--dataset", dataset, "--masks", source, "--out", tmp_path / f"{name}1", family=family)
        assert alone.exit_code == 0, alone.output
        together, single = MaskRun.open(tmp_path / name), MaskRun.open(tmp_path / f"{name}1")
        assert together.videos() == single.videos() == ["aa11", "bb22"]
        assert together.manifest == single.manifest
        assert all(together.read(video) == single.read(video) for video in together.videos())


def test_manifests_say_what_was_done(dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    options = ["--dataset", dataset, "--masks", source, "--faithful", "--long-term-cap", "5"]
    assert call(*options, "--out", tmp_path / "out").exit_code == 0
    manifest = MaskRun.open(tmp_path / "out").manifest
    assert manifest.producer == "aot-propagate"
    assert manifest.settings["source"]["run"] == "source"
    procedure = manifest.settings["procedure"]
    assert (procedure["keep_memory"], procedure["active_ids"]) == (True, "all")
    assert procedure["memory"] == {
        "long_term_gap": 2,
        "short_term_skip": 1,
        "long_term_cap": 5,
        "restart_clock": True,
    }
    again = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out")
    assert again.exit_code == 2
    assert "procedure" in again.output
    assert "--out" in again.output


def test_switches_reach_the_procedure(dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    options = ["--active-ids", "all", "--feedback", "own", "--size-limits", "short-and-long", "--no-flip"]
    call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out", *options, family="deaot")
    procedure = MaskRun.open(tmp_path / "out").manifest.settings["procedure"]
    assert (procedure["active_ids"], procedure["feedback"], procedure["flip"]) == ("all", "own", False)
    assert procedure["limits"] == {"short_edge": 624.0, "long_edge": 1040.0, "enlarge": False}
    assert procedure["scales"] == [1.0]


def test_a_video_missing_in_the_source_fails_alone(dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source", videos=["bb22"])
    result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "failed: aa11" in result.output
    assert MaskRun.open(tmp_path / "out").videos() == ["bb22"]


def test_masks_of_another_data_set_are_refused(dataset, tmp_path):
    other = draw_dataset(tmp_path / "other", ("something else", "and more"))
    source = write_run(other, tmp_path / "source")
    result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "made on another data set (other" in result.output
    assert not (tmp_path / "out").exists()


def test_the_other_familys_checkpoint_is_refused(dataset, tmp_path):
    (case,) = [c for c in find_cases("", local=Path(__file__).parent / "goldens") if c.name == "tiny_deaot"]
    torch.save({"state_dict": published_state(case)}, tmp_path / "deaot.pth")
    source = write_run(dataset, tmp_path / "source")
    smoke = ["--config", "tiny", "--checkpoint", str(tmp_path / "deaot.pth"), "--device", "cpu"]
    result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out", smoke=smoke)
    assert result.exit_code == 2
    assert "use deaot-propagate" in result.output


def test_conversion_on_the_command_line(tmp_path):
    names = json.loads((Path(__file__).parent / "published_names" / "deaott.json").read_text())
    torch.save({"state_dict": {name: torch.zeros(shape) for name, shape in names.items()}}, tmp_path / "a.pth")
    app = propagator_app("deaot")
    arguments = ["checkpoint", "convert", str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors"), "--config"]
    assert CliRunner().invoke(app, [*arguments, "deaott"]).exit_code == 0
    assert (tmp_path / "a.safetensors").stat().st_size > 10**6
    wrong = CliRunner().invoke(app, [*arguments, "deaots"])
    assert wrong.exit_code == 2
    assert "--config deaott" in wrong.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "give either --masks RUN"),
        (["--masks", "a", "--mask", "b", "--out", "x"], "give either --masks RUN"),
        (["--mask", "b", "--out", "x"], "--mask goes with --video"),
        (["--masks", "a", "--masks", "b", "--out", "x"], "expected 2, found 1"),
        (["--masks", "a"], "expected 1, found 0"),
        (["--masks", "a", "--out", "x"], "give either --dataset ROOT or --video PATH"),
        (["--masks", "a", "--out", "x", "--scales", "1,zero"], "--scales 1,zero"),
        (["--masks", "a", "--out", "x", "--config", "huge"], "--config huge: expected one of swinl_aotl"),
        (["--masks", "a", "--out", "x", "--device", "gpu"], "--device gpu"),
    ],
)
def test_wrong_use(arguments, message, tmp_path):
    write_run(draw_dataset(tmp_path / "data"), tmp_path / "a")
    arguments = [str(tmp_path / a) if a in ("a", "b", "x") else a for a in arguments]
    # Options of the case come last, so that they win over the ones that every call gets.
    result = CliRunner().invoke(propagator_app("aot"), [*SMOKE, *arguments], terminal_width=200)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_out_must_not_be_the_source(dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    result = call("--dataset", dataset, "--masks", source, "--out", source)
    assert result.exit_code == 2
    assert "the run that --masks reads" in result.output


def test_help_needs_no_torch():
    code = "import sys, aot_deaot.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def write_video_file(path, frames):
    """A real H.264 file, as a camera or an editor would leave it."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("family", ["aot", "deaot"])
def test_a_video_file_with_several_objects(tmp_path, family):
    frames = []
    for t in range(5):
        pixels = np.full((48, 64, 3), 40, np.uint8)
        pixels[8:24, 4 + 4 * t : 20 + 4 * t] = (200, 30, 30)
        pixels[28:44, 40 - 4 * t : 56 - 4 * t] = (30, 200, 30)
        frames.append(pixels)
    write_video_file(tmp_path / "my clip.mp4", frames)
    labels = np.zeros((48, 64), np.uint8)
    labels[8:24, 8:24], labels[28:44, 36:52] = 1, 4
    picture = Image.fromarray(labels)
    picture.putpalette(bytes(768))
    picture.save(tmp_path / "first.png")
    options = ["--video", tmp_path / "my clip.mp4", "--mask", tmp_path / "first.png", "--out", tmp_path / "out"]
    result = call(*options, "--frame", 1, family=family)
    assert result.exit_code == 0, result.output
    masks = MaskRun.open(tmp_path / "out").read("my clip")
    assert masks.frame_names == tuple(f"{t:05d}" for t in range(5))
    assert masks.expression_ids == ("1", "4")
    np.testing.assert_array_equal(masks.track("4").mask(1), labels == 4)
    late = call(*options[:-1], tmp_path / "late", "--frame", 5, family=family)
    assert late.exit_code == 1
    assert "key frame 5 is not in the video, which has frames 0 to 4" in late.output


@pytest.fixture
def davis():
    root = os.environ.get("RVOS_DATA")
    if not root:
        pytest.skip("RVOS_DATA is not set: no real videos here")
    return Path(root) / "davis_mini"


def test_real_frames_with_real_objects(davis, tmp_path):
    """Two real objects on the first frame of a real video, cut short."""
    video = tmp_path / "horsejump-high"
    video.mkdir()
    for name in FRAMES[:3]:
        (video / f"{name}.jpg").symlink_to(davis / "JPEGImages" / "horsejump-high" / f"{name}.jpg")
    mask = davis / "Annotations_first_frame_objects" / "horsejump-high" / "00000.png"
    result = call("--video", video, "--mask", mask, "--out", tmp_path / "out", "--no-flip")
    assert result.exit_code == 0, result.output
    masks = MaskRun.open(tmp_path / "out").read("horsejump-high")
    assert masks.expression_ids == ("1", "2")
    assert masks.size == (480, 854)
    truth = np.asarray(Image.open(mask))
    np.testing.assert_array_equal(masks.track("2").mask(0), truth == 2)


def test_a_run_over_the_real_data_set(davis, tmp_path):
    """First-frame annotations of one video as the source run, in the data set's own layout."""
    data = open_dataset(davis)
    video = data.videos["dog"]
    run = MaskRun.create(tmp_path / "truth", RunManifest(producer="t", producer_version="1", dataset=data.identity))
    truth = [np.asarray(Image.open(davis / "Annotations" / "dog" / f"{n}.png")) > 0 for n in video.frame_names]
    tracks = tuple(MaskTrack.from_masks(e, truth, key_frame=len(truth) - 2) for e in video.expressions)
    run.write(VideoMasks(video="dog", size=video.size, frame_names=video.frame_names, tracks=tracks))
    options = ["--dataset", davis, "--masks", run.path, "--videos", "dog", "--out", tmp_path / "out", "--no-flip"]
    result = call(*options, smoke=[*SMOKE[:-1], "0.2"])
    assert result.exit_code == 0, result.output
    masks = MaskRun.open(tmp_path / "out").read("dog")
    assert len({track.masks for track in masks.tracks}) == 1  # equal jobs, equal results
    np.testing.assert_array_equal(masks.tracks[0].mask(len(truth) - 2), truth[-2])


def test_shipped_weights_are_used_when_none_are_chosen(dataset, tmp_path, monkeypatch):
    shipped = BundledWeights(path=tmp_path / "demo.safetensors", config="tiny")
    save_network(shipped.path, random_network(5, named_config("aot", "tiny")), "tiny")
    monkeypatch.setattr(cli, "BUNDLED", {"aot": shipped, "deaot": shipped})
    source, quick = write_run(dataset, tmp_path / "source"), ["--device", "cpu", "--scales", "1.0"]

    def masks(out, *weights):
        result = call("--dataset", dataset, "--masks", source, "--out", out, *weights, smoke=quick)
        assert result.exit_code == 0, result.output
        assert ("weights: demo" in result.output) == (not weights)
        return MaskRun.open(out)

    by_default = masks(tmp_path / "default")
    chosen = masks(tmp_path / "chosen", "--checkpoint", shipped.path, "--config", "tiny")
    assert by_default.manifest == chosen.manifest
    assert by_default.read("aa11").tracks == chosen.read("aa11").tracks
    other = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "x", "--config", "aott", smoke=quick)
    assert other.exit_code == 2
    assert "ships weights of tiny only" in other.output
