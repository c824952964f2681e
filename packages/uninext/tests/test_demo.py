"""The weights that the package ships: really trained, used when nothing is asked for, small."""

import numpy as np
import pytest
from mask_interchange import Expression, open_dataset
from program_kit.segmenter_app import ModelRequest
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.weights import BundledWeights, WeightsChoice
from rvos_synthetic import render_video, write_dataset
from typer.testing import CliRunner
from uninext.bundled import BUNDLED
from uninext.cli import app, load
from uninext.config import CONFIGS
from uninext.predict import VideoPredictor

VIDEOS, FRAMES = 5, 3
LEAST = 0.25  # far below what the cards say, far above what untrained weights reach


@pytest.fixture(params=list(BUNDLED), scope="module")
def demo(request) -> BundledWeights:
    if not BUNDLED[request.param].available:
        pytest.skip(f"weights of {request.param} are not trained yet")
    return BUNDLED[request.param]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    write_dataset(root, "valid", VIDEOS, size=(96, 160), frames=FRAMES)
    return root


def predictor(demo: BundledWeights, weights: WeightsChoice) -> VideoPredictor:
    return load(
        ModelRequest(
            config=demo.config,
            weights=weights,
            tokenizer="demo",
            device="cpu",
            short_side=demo.short_side,
        )
    )


def overlap(made: VideoPredictor, root) -> float:
    """Mean J over the sentences and frames of some validation videos."""
    found = []
    for index, video in enumerate(open_dataset(root, "valid").videos.values()):
        labels = render_video("valid", index, frames=FRAMES).labels
        for track in made.predict(video).tracks:
            truth, mask = labels == int(track.expression.group), track.stack()
            either = (mask | truth).sum((1, 2))
            found.append(np.where(either, (mask & truth).sum((1, 2)) / np.maximum(either, 1), 1).mean())
    return float(np.mean(found))


def test_they_segment_what_sentences_mean(demo, videos):
    assert overlap(predictor(demo, WeightsChoice(checkpoint=demo.path)), videos) > LEAST


def test_untrained_weights_do_not(demo, videos):
    assert overlap(predictor(demo, WeightsChoice(seed=0)), videos) < LEAST / 2


def test_any_sentence_is_accepted(demo, videos):
    video = next(iter(open_dataset(videos, "valid").videos.values()))
    sentences = ("the red star", "Ein Hund läuft, 犬が走る!", "word " * 100)
    asked = type(video)(
        id=video.id,
        expressions=tuple(Expression(id=str(i), text=text) for i, text in enumerate(sentences)),
        source=video.source,
    )
    tracks = predictor(demo, WeightsChoice(checkpoint=demo.path)).predict(asked).tracks
    assert all(np.isfinite(track.scores).all() for track in tracks)


def test_the_file(demo):
    weights = read_checkpoint(demo.path)
    assert demo.path.stat().st_size <= 4_000_000
    assert {t.dtype.itemsize for t in weights.state.values()} == {2}
    assert weights.origin.config == demo.config


def test_who_asks_for_a_published_network_without_weights_gets_its_small_version(demo, videos, tmp_path):
    video = next((videos / "valid" / "JPEGImages").iterdir())
    arguments = ["--backbone", demo.stands_for, "--video", video, "-e", "the red star", "--out", tmp_path / "run"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "weights: demo (a small network trained on synthetic videos" in result.stderr
    assert f'"config": "{demo.config}"' in (tmp_path / "run" / "run.json").read_text()


def test_every_shipped_network_is_a_configuration_that_stands_for_another():
    for config, demo in BUNDLED.items():
        assert demo.config == config
        assert {config, demo.stands_for} <= set(CONFIGS)
        assert CONFIGS[config].image.short_side == demo.short_side
        assert isinstance(CONFIGS[config].backbone, type(CONFIGS[demo.stands_for].backbone))
