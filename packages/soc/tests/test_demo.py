"""The bundled weights are trained, are the default, and are small."""

import numpy as np
import pytest
import torch
from mask_interchange import Expression
from program_kit.errors import WeightsError
from program_kit.torch.checkpoint.reading import read_checkpoint
from rvos_synthetic import render_video
from soc import SOCPredictor
from soc.bundled import BUNDLED

VIDEOS = 6
LEAST = 0.2  # far below what the card says, far above what untrained weights reach


@pytest.fixture(scope="module")
def predictor():
    return SOCPredictor.load(device="cpu")


def overlaps(predictor) -> list[float]:
    """Mean J of every expression of some validation videos."""
    found = []
    for index in range(VIDEOS):
        video = render_video("valid", index)
        sentences = [Expression(id=str(place), text=e.text) for place, e in enumerate(video.expressions)]
        tracks = predictor.segment(video.frames, sentences)
        for expression, track in zip(video.expressions, tracks, strict=True):
            mask, truth = track.stack(), video.labels == expression.label
            either = (mask | truth).sum((1, 2))
            found.append(float(np.mean(np.where(either, (mask & truth).sum((1, 2)) / np.maximum(either, 1), 1))))
    return found


def test_they_segment_what_expressions_mean(predictor):
    assert np.mean(overlaps(predictor)) > LEAST


def test_untrained_weights_do_not():
    untrained = SOCPredictor.load(seed=0, config="demo", tokenizer="demo", device="cpu")
    assert np.mean(overlaps(untrained)) < LEAST / 2


def test_any_expression_is_accepted(predictor):
    frames = render_video("valid", 0, frames=2).frames
    tracks = predictor.segment(frames, ["the red star", "Ein Hund läuft, 犬が走る!"])
    assert all(np.isfinite(track.scores).all() for track in tracks)


def test_the_file():
    weights = read_checkpoint(BUNDLED.path)
    assert BUNDLED.path.stat().st_size <= 4_000_000
    assert {t.dtype for t in weights.state.values() if t.is_floating_point()} == {torch.float16}
    assert (weights.origin.model, weights.origin.config) == ("soc", BUNDLED.config)


def test_other_configurations_have_no_weights():
    with pytest.raises(WeightsError, match="ships weights of demo only"):
        SOCPredictor.load(config="tiny")
