"""From frames and sentences to tracks."""

import os
from pathlib import Path

import pytest
from grounded_cases import PredictorContract
from mask_interchange import MaskRun
from referformer import ReferFormerPredictor, cli
from referformer.config import CONFIGS
from referformer.preprocess import RESIZE
from typer.testing import CliRunner

DATA = os.environ.get("RVOS_DATA")


class TestPredictor(PredictorContract):
    kind = ReferFormerPredictor


def test_only_the_short_side_counts():
    assert RESIZE.size((720, 1280)) == (360, 640)
    assert RESIZE.size((300, 900)) == (360, 1080)
    assert RESIZE.size((1000, 360)) == (1000, 360)


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
