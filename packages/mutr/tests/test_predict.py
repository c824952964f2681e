"""From frames and sentences to tracks."""

import os
from pathlib import Path

import numpy as np
import pytest
from grounded_cases import SENTENCES, PredictorContract
from mask_interchange import MaskRun
from mutr import MUTRPredictor, cli
from mutr.config import CONFIGS
from mutr.preprocess import RESIZE, RESIZE_FOR_MASKS
from typer.testing import CliRunner

DATA = os.environ.get("RVOS_DATA")


class TestPredictor(PredictorContract):
    kind = MUTRPredictor


def test_two_published_sizes():
    """Scores at one, masks at the other; both come from the same option."""
    frames = list(np.random.default_rng(0).integers(0, 256, (4, 70, 101, 3), dtype=np.uint8))
    assert (RESIZE.size((720, 1280)), RESIZE_FOR_MASKS.size((720, 1280))) == ((360, 640), (432, 768))
    small, large = (MUTRPredictor.load(seed=0, config="tiny", device="cpu", short_side=side) for side in (64, 80))
    [one], [other] = small.segment(frames, SENTENCES[:1]), large.segment(frames, SENTENCES[:1])
    assert one.size == other.size == (70, 101)
    assert one.key_frame == other.key_frame == 0
    assert not np.array_equal(one.scores, other.scores)


def test_the_command_line_knows_every_configuration():
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    assert "|".join(CONFIGS) in result.output


@pytest.mark.skipif(not DATA, reason="RVOS_DATA does not name the folder of test data")
def test_real_frames_end_to_end(tmp_path):
    folder = tmp_path / "dog"
    folder.mkdir()
    for path in sorted((Path(DATA) / "davis_mini" / "JPEGImages" / "dog").glob("*.jpg"))[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    arguments = ["--video", folder, "-e", "the brown dog", "-e", "a dog turning", "--out", tmp_path / "run"]
    arguments += ["--weights", "random:0", "--config", "tiny", "--device", "cpu", "--short-side", "90"]
    result = CliRunner().invoke(cli.main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    run = MaskRun.open(tmp_path / "run")
    assert run.manifest.settings["short_side"] == 90
    masks = run.read("dog")
    assert masks.frame_names == ("00000", "00001", "00002")
    assert [track.expression.text for track in masks.tracks] == ["the brown dog", "a dog turning"]
    assert {track.stack().shape for track in masks.tracks} == {(3, *masks.size)}
