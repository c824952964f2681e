"""The command as a user calls it, on drawn and on real videos."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from cutie import CutiePropagator, cli
from cutie.settings import LongTerm, PropagationSettings
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from PIL import Image
from program_kit.torch import memory
from typer.testing import CliRunner

from .published import drawn_state

SIZE = (40, 56)
FRAMES = [f"{t:05d}" for t in range(4)]
SMOKE = ["--config", "tiny", "--weights", "random:0", "--device", "cpu"]


def call(*arguments, smoke=SMOKE):
    return CliRunner().invoke(cli.app, [*map(str, arguments), *smoke])


@pytest.fixture
def dataset(tmp_path):
    root, meta = tmp_path / "data", {"videos": {}}
    for index, video in enumerate(("aa11", "bb22")):
        folder = root / "JPEGImages" / video
        folder.mkdir(parents=True)
        for t, name in enumerate(FRAMES):
            pixels = np.random.default_rng(10 * index + t).integers(0, 90, (*SIZE, 3), dtype=np.uint8)
            pixels[8:24, 4 + 4 * t : 24 + 4 * t] += 120
            Image.fromarray(pixels).save(folder / f"{name}.jpg")
        expressions = {"0": {"exp": "a square"}, "1": {"exp": "another one"}}
        meta["videos"][video] = {"frames": FRAMES, "expressions": expressions}
    (root / "meta_expressions.json").write_text(json.dumps(meta))
    return root


def square(t, start=4):
    mask = np.zeros(SIZE, bool)
    mask[8:24, start + 4 * t : start + 20 + 4 * t] = True
    return mask


def write_run(dataset, path, key_frames=(1, 2)):
    data = open_dataset(dataset)
    run = MaskRun.create(path, RunManifest(producer="test", producer_version="1", dataset=data.identity))
    for name, video in data.videos.items():
        tracks = [
            MaskTrack.from_masks(expression, [square(t, 4 + index) for t in range(len(FRAMES))], key_frame=key)
            for index, (expression, key) in enumerate(zip(video.expressions, key_frames, strict=True))
        ]
        run.write(VideoMasks(video=name, size=SIZE, frame_names=video.frame_names, tracks=tuple(tracks)))
    return path


def test_several_runs_equal_one_at_a_time(dataset, tmp_path):
    first, second = write_run(dataset, tmp_path / "first"), write_run(dataset, tmp_path / "second", (3, 0))
    both = ["--masks", first, "--out", tmp_path / "x", "--masks", second, "--out", tmp_path / "y"]
    result = call("--dataset", dataset, *both)
    assert result.exit_code == 0, result.output
    for source, name in ((first, "x"), (second, "y")):
        alone = call("--dataset", dataset, "--masks", source, "--out", tmp_path / f"{name}1")
        assert alone.exit_code == 0, alone.output
        together, single = MaskRun.open(tmp_path / name), MaskRun.open(tmp_path / f"{name}1")
        assert together.videos() == single.videos() == ["aa11", "bb22"]
        assert together.manifest == single.manifest
        for video in together.videos():
            pairs = zip(together.read(video).tracks, single.read(video).tracks, strict=True)
            assert all(np.mean(one.stack() != other.stack()) < 1e-3 for one, other in pairs)


def test_manifests_say_what_was_done(dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    options = ["--dataset", dataset, "--masks", source, "--out", tmp_path / "out"]
    assert call(*options, "--long-term", "--size", "32").exit_code == 0
    manifest = MaskRun.open(tmp_path / "out").manifest
    assert (manifest.producer, manifest.settings["source"]["run"]) == ("cutie-propagate", "source")
    procedure = manifest.settings["procedure"]
    assert procedure["short_side"] == 32
    assert procedure["memory"]["long_term"] == asdict(LongTerm())
    again = call(*options)
    assert again.exit_code == 2
    assert "procedure" in again.output


def test_the_default_procedure_is_that_of_python():
    assert cli.CutieOptions().settings == PropagationSettings()


def test_the_command_and_python_give_the_same_masks(dataset, tmp_path):
    source = write_run(dataset, tmp_path / "source")
    result = call("--dataset", dataset, "--masks", source, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    propagator = CutiePropagator.load(seed=0, config="tiny", device="cpu")
    video = open_dataset(dataset).videos["aa11"]
    masks = propagator.propagate_tracks(video, MaskRun.open(source).read("aa11"))
    assert masks == MaskRun.open(tmp_path / "out").read("aa11")


def test_conversion_on_the_command_line(tmp_path):
    torch.save(drawn_state("small"), tmp_path / "a.pth")
    arguments = ["checkpoint", "convert", str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors"), "--config"]
    converted = CliRunner().invoke(cli.app, [*arguments, "small"])
    assert converted.exit_code == 0, converted.output
    assert (tmp_path / "a.safetensors").stat().st_size > 10**6
    wrong = CliRunner().invoke(cli.app, [*arguments, "base"])
    assert wrong.exit_code == 2
    assert "config small" in wrong.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "huge"], "config huge: expected one of base, small, tiny"),
        (["--size", "8"], "--size"),
        (["--batch", "0"], "--batch"),
        (["--precision", "int8"], "--precision"),
    ],
)
def test_wrong_use(arguments, message, tmp_path):
    # Options of the case come last, so that they win over the ones that every call gets.
    command = [*SMOKE, "--masks", str(tmp_path / "a"), "--out", str(tmp_path / "x"), *arguments]
    result = CliRunner().invoke(cli.app, command, terminal_width=200)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def refused(dataset, mask, out, *more):
    """The message of a call that ends with exit code 2 before any work."""
    command = ["--video", dataset / "JPEGImages" / "aa11", "--mask", mask, "--out", out, "--device", "cpu", *more]
    result = call(*command, smoke=())
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    assert not out.exists()
    return result.stderr


@pytest.fixture
def mask(tmp_path):
    Image.fromarray(np.array(square(0), np.uint8)).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def test_a_mask_of_another_size(dataset, tmp_path):
    Image.fromarray(np.ones((8, 9), np.uint8)).save(tmp_path / "mask.png")
    words = "mask of key frame 0 is 8 x 9, the video's frames are 40 x 56 (height x width); give a mask of their size"
    assert words in refused(
        dataset, tmp_path / "mask.png", tmp_path / "out", "--config", "tiny", "--weights", "random:0"
    )


def test_more_objects_than_memory_allows(dataset, mask, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
    message = refused(dataset, mask, tmp_path / "out", "--config", "tiny", "--weights", "random:0")
    assert "1 objects at the same time take about" in message
    assert "0 objects fit; give a smaller --batch" in message


def test_without_weights_the_message_says_what_to_fetch(dataset, mask, tmp_path, monkeypatch):
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path / "none"))
    message = refused(dataset, mask, tmp_path / "out")
    assert "weights fetch cutie-base-mega` fetches published ones (cutie-base-mega: 140 MB, MIT" in message
    assert "--weights random:0 --config tiny" in message


def test_checkpoints_that_do_not_fit(dataset, mask, tmp_path):
    state, path = drawn_state("small"), tmp_path / "net.pth"
    torch.save(state, path)
    assert "names and shapes fit config small" in refused(dataset, mask, tmp_path / "out", "--checkpoint", path)
    state["stray.weight"] = torch.zeros(1)
    state["pix_feat_proj.bias"] = torch.zeros(3)
    del state["mask_decoder.pred.bias"]
    torch.save(state, path)
    message = refused(dataset, mask, tmp_path / "out", "--checkpoint", path, "--config", "small")
    for words in (
        "net.pth",
        "unknown (1)",
        "missing (1)",
        "wrong (1)",
        "pix_feat_proj.bias: expected shape [256], found [3]",
    ):
        assert words in message


def test_help_names_every_option():
    result = CliRunner().invoke(cli.app, ["--help"], terminal_width=200)
    for option in ("long-term", "size", "precision", "batch", "cache"):
        assert f"--{option}" in result.output
    assert "--more-objects" not in result.output  # there is no limit to go beyond


def test_help_needs_no_torch():
    code = "import sys, cutie.cli; sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
    result = call("--video", video, "--mask", mask, "--out", tmp_path / "out", "--size", 240)
    assert result.exit_code == 0, result.output
    masks = MaskRun.open(tmp_path / "out").read("horsejump-high")
    assert masks.expression_ids == ("1", "2")
    assert masks.size == (480, 854)
    np.testing.assert_array_equal(masks.track("2").mask(0), np.asarray(Image.open(mask)) == 2)
