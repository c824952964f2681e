"""Mattes: hard and soft alpha in PNG, ProRes and OpenEXR files."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import OpenEXR
import pytest
from fusion_core.cli import app
from fusion_core.errors import MemberError
from fusion_core.rendering.clip import Look
from fusion_core.rendering.mattes import alpha
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks, open_video
from PIL import Image
from typer.testing import CliRunner

SIZE = (33, 48)  # odd, which ProRes 4444 can have
SOFT = np.array([[[0, 64], [128, 255]], [[255, 0], [0, 0]]], np.uint8)


def export(forms, *arguments):
    return CliRunner().invoke(app, ["export", "--format", forms, *map(str, arguments)])


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for t in range(2):
        y, x = np.mgrid[: SIZE[0], : SIZE[1]]
        pixels = np.stack([60 + 40 * t + 0 * x, 40 + 3 * y, 40 + 3 * x], axis=-1).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{t:05d}.png")
    return folder


@pytest.fixture
def run(tmp_path, frames):
    dataset = open_video(frames, ["the dog", "a cat"])
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 10:20, 12:30] = True
    dog = MaskTrack.from_masks(Expression(id="0", text="the dog"), masks, soft=SOFT)
    cat = MaskTrack.from_masks(Expression(id="1", text="a cat"), ~masks, soft=255 - SOFT)
    made = MaskRun.create(
        tmp_path / "run", RunManifest(producer="test", producer_version="1", dataset=dataset.identity)
    )
    made.write(VideoMasks(video="clip", size=SIZE, frame_names=("00000", "00001"), tracks=(dog, cat)))
    return made


def written(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "prores"
        assert stream.codec_context.pix_fmt.startswith("yuva444p1")
        return [
            frame.reformat(format="rgba", src_colorspace="ITU709").to_ndarray() for frame in container.decode(stream)
        ]


@pytest.mark.parametrize("options", [(), ("--soft",), ("--feather", "2"), ("--soft", "--feather", "1.5")])
def test_all_forms_have_the_same_alpha(run, frames, tmp_path, options):
    out = tmp_path / "out"
    result = export("rgba,prores,exr", run.path, "--video", frames, "--out", out, *options)
    assert result.exit_code == 0, result.output
    look = Look(soft="--soft" in options, feather=float(options[-1]) if "--feather" in options else 0)
    source = [np.asarray(Image.open(path)) for path in sorted(frames.iterdir())]
    for number, track in enumerate(run.read("clip").tracks):
        movie = written(out / "prores/clip" / f"{number}.mov")
        assert len(movie) == 2
        for t in range(2):
            expected = alpha(track, t, look)
            picture = np.asarray(Image.open(out / "rgba/clip" / str(number) / f"{t:05d}.png"))
            np.testing.assert_array_equal(picture[..., 3], expected)
            np.testing.assert_array_equal(picture[..., :3], source[t])
            assert np.abs(movie[t][..., 3].astype(int) - expected).max() <= 1
            assert np.abs(movie[t][..., :3].astype(int) - source[t]).mean() < 3
            with OpenEXR.File(str(out / "exr/clip" / f"{t:05d}.exr")) as file:
                matte = file.channels()[f"matte.{number}"].pixels
                assert file.header()[f"matte.{number}"] == track.expression.text
            assert matte.dtype == np.float16
            np.testing.assert_allclose(matte, expected / 255, atol=2**-11)


def test_alpha(run):
    track = run.read("clip").track("0")
    hard = alpha(track, 0, Look())
    np.testing.assert_array_equal(hard, track.mask(0) * 255)
    soft = alpha(track, 0, Look(soft=True))
    assert soft.shape == SIZE
    assert [soft[0, 0], soft[0, -1], soft[-1, 0], soft[-1, -1]] == [0, 64, 128, 255]
    assert len(np.unique(soft)) > 50, "between the stored probabilities it is interpolated"
    blurred = alpha(track, 0, Look(feather=2))
    row, middle = blurred[15].astype(int), 12
    assert (np.diff(row[:21]) >= 0).all()
    assert row[middle - 1] < 128 < row[middle], "the edge stays where it is"
    assert abs(row[middle - 1] + row[middle] - row.max()) <= 2
    assert row[0] == 0


def test_soft_alpha_needs_stored_probabilities(run, frames, tmp_path):
    with pytest.raises(MemberError, match="no stored probabilities; make the run with --soft-masks"):
        alpha(replace(run.read("clip").track("0"), soft=None), 0, Look(soft=True))
    bare = MaskRun.create(tmp_path / "bare", run.manifest)
    masks = run.read("clip")
    bare.write(replace(masks, tracks=tuple(replace(track, soft=None) for track in masks.tracks)))
    result = export("rgba", bare.path, "--video", frames, "--out", tmp_path / "out", "--soft")
    assert result.exit_code == 1
    assert "failed: video clip: expression '0' has no stored probabilities" in result.stderr
    assert not list((tmp_path / "out").rglob("*.png"))


def test_mattes_have_the_timing_and_pixels_of_their_source(run, frames, tmp_path):
    result = export("prores", run.path, "--video", frames, "--out", tmp_path / "out", "--fps", "12.5")
    assert result.exit_code == 0, result.output
    with av.open(str(tmp_path / "out/prores/clip/0.mov")) as container:
        shown = [frame.pts * frame.time_base for frame in container.decode(video=0)]
        assert (container.streams.video[0].height, container.streams.video[0].width) == SIZE
    assert shown == [0, Fraction(2, 25)]
