"""From frames and sentences to tracks."""

import os
from pathlib import Path

import numpy as np
import pytest
import rvos_layers.predictor
import torch
from mask_interchange import MaskRun
from referformer import ReferFormerPredictor, cli
from referformer.config import CONFIGS
from referformer.preprocess import RESIZE
from typer.testing import CliRunner

DATA = os.environ.get("RVOS_DATA")
SENTENCES = ["a dog", "the brown dog that turns round at the end", "Grass"]


@pytest.fixture(scope="module")
def predictor() -> ReferFormerPredictor:
    """A tiny random network whose masks are neither empty nor full."""
    made = ReferFormerPredictor.load(seed=0, config="tiny", device="cpu", short_side=64)
    torch.manual_seed(0)
    torch.nn.init.normal_(made.model.masks.controller.last.weight, std=0.5)
    return made


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    clip = np.random.default_rng(0).integers(0, 120, (4, 70, 101, 3), dtype=np.uint8)
    for t, frame in enumerate(clip):
        frame[20 + t : 45 + t, 5 * t : 5 * t + 30] = (250, 200, 90)
    return list(clip)


def test_sentences_together_and_alone(predictor, frames):
    together = predictor.segment(frames, SENTENCES)
    assert any(0.01 < track.stack().mean() < 0.99 for track in together)
    for track in together:
        [alone] = predictor.segment(frames, [track.expression])
        assert alone.key_frame == track.key_frame
        np.testing.assert_allclose(alone.scores, track.scores, atol=1e-5)
        assert (alone.stack() != track.stack()).mean() < 1e-3


@pytest.mark.parametrize("held", [1, 8, 1000])
def test_sentences_in_groups(predictor, frames, held, monkeypatch):
    expected = predictor.segment(frames, SENTENCES)
    monkeypatch.setattr(rvos_layers.predictor, "QUESTIONS_HELD", held)
    for one, other in zip(predictor.segment(iter(frames), SENTENCES), expected, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        assert (one.stack() != other.stack()).mean() < 1e-3


def test_the_video_is_encoded_once_and_only_chosen_queries_are_drawn(predictor, frames, monkeypatch):
    model, encoded, drawn = predictor.model, [], []
    encode, draw = model.encode_video, model.draw
    monkeypatch.setattr(model, "encode_video", lambda clip: encoded.append(clip.shape) or encode(clip))
    monkeypatch.setattr(model, "draw", lambda v, t, found: drawn.append(found.states.shape[:3]) or draw(v, t, found))
    predictor.segment(frames, SENTENCES)
    assert encoded == [(1, 4, 3, 64, 92)]
    assert sum(sentences for sentences, _, _ in drawn) == len(SENTENCES)
    assert {shape[1:] for shape in drawn} == {(4, 1)}


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
