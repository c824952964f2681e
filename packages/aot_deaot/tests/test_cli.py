"""The commands as a user calls them, on drawn and on real videos."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from aot_deaot import AOTPropagator, DeAOTPropagator, cli
from aot_deaot.settings import corrected
from golden_cases import find_cases
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from PIL import Image
from typer.testing import CliRunner

from .published import published_state

SIZE = (40, 56)
FRAMES = [f"{t:05d}" for t in range(4)]
COMMANDS = {"aot": cli.aot, "deaot": cli.deaot}
SMOKE = ["--config", "tiny", "--weights", "random:0", "--device", "cpu", "--scales", "1.0"]


def call(*arguments, family="aot", smoke=SMOKE, stdin=None):
    return CliRunner().invoke(COMMANDS[family], [*map(str, arguments), *smoke], input=stdin)


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
    arguments = ["checkpoint", "convert", str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors"), "--config"]
    assert CliRunner().invoke(cli.deaot, [*arguments, "deaott"]).exit_code == 0
    assert (tmp_path / "a.safetensors").stat().st_size > 10**6
    wrong = CliRunner().invoke(cli.deaot, [*arguments, "deaots"])
    assert wrong.exit_code == 2
    assert "config deaott" in wrong.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scales", "1,zero"], "--scales 1,zero: expected numbers above 0"),
        (["--scales", "0"], "--scales 0: expected numbers above 0"),
        (["--config", "huge"], "config huge: expected one of swinl_aotl"),
        (["--long-term-cap", "1"], "--long-term-cap"),
        (["--precision", "int8"], "--precision"),
    ],
)
def test_wrong_use(arguments, message, tmp_path):
    # Options of the case come last, so that they win over the ones that every call gets.
    command = [*SMOKE, "--masks", str(tmp_path / "a"), "--out", str(tmp_path / "x"), *arguments]
    result = CliRunner().invoke(cli.aot, command, terminal_width=200)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


@pytest.mark.parametrize("family", ["aot", "deaot"])
def test_help_names_every_option(family):
    result = CliRunner().invoke(COMMANDS[family], ["--help"], terminal_width=200)
    own = "faithful active-ids feedback size-limits scales flip no-flip long-term-cap precision compile batch cache"
    for option in own.split():
        assert f"--{option}" in result.output


def test_help_needs_no_torch():
    code = "import sys, aot_deaot.cli; sys.exit('torch' in sys.modules or 'av' in sys.modules)"
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
    picture.putpalette([0, 0, 0, *(i % 256 for i in range(1, 766))])  # black, then a colour for each id
    picture.save(tmp_path / "first.png")
    options = ["--video", tmp_path / "my clip.mp4", "--mask", tmp_path / "first.png", "--out", tmp_path / "out"]
    result = call(*options, "--frame", 1, family=family)
    assert result.exit_code == 0, result.output
    masks = MaskRun.open(tmp_path / "out").read("my clip")
    assert masks.frame_names == tuple(f"{t:05d}" for t in range(5))
    assert masks.expression_ids == ("1", "4")
    np.testing.assert_array_equal(masks.track("4").mask(1), labels == 4)


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


@pytest.mark.parametrize(("family", "kind"), [("aot", AOTPropagator), ("deaot", DeAOTPropagator)])
def test_the_command_and_python_give_the_same_masks(dataset, tmp_path, family, kind):
    """With the weights that the package ships, which both take when none are chosen."""
    source, quick = write_run(dataset, tmp_path / "source"), ["--device", "cpu", "--scales", "1.0"]
    result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out", family=family, smoke=quick)
    assert result.exit_code == 0, result.output
    assert f"{family}-propagate: weights: demo" in result.output
    propagator = kind.load(device="cpu", settings=lambda config: replace(corrected(config), scales=(1.0,)))
    video = open_dataset(dataset).videos["aa11"]
    masks = propagator.propagate_tracks(video, MaskRun.open(source).read("aa11"))
    assert masks == MaskRun.open(tmp_path / "out").read("aa11")
