"""The weights that the package ships: trained, used if no others are asked for, small."""

import numpy as np
import pytest
from mask_interchange import Expression, open_dataset
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.weights import BundledWeights
from rvos_synthetic import render_video, write_dataset
from typer.testing import CliRunner
from uninext import UNINEXTPredictor
from uninext.bundled import BUNDLED
from uninext.cli import app
from uninext.config import CONFIGS

VIDEOS, FRAMES = 5, 3
LEAST = 0.25  # far below the scores of the cards, far above those of untrained weights


@pytest.fixture(params=list(BUNDLED), scope="module")
def bundled(request) -> BundledWeights:
    return BUNDLED[request.param]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    write_dataset(root, "valid", VIDEOS, size=(96, 160), frames=FRAMES)
    return root


def mean_j(predictor: UNINEXTPredictor, root) -> float:
    """Mean J over the expressions and frames of some validation videos."""
    scores = []
    for index, video in enumerate(open_dataset(root, "valid").videos.values()):
        labels = render_video("valid", index, frames=FRAMES).labels
        for track in predictor.predict(video).tracks:
            truth, mask = labels == int(track.expression.group), track.stack()
            union = (mask | truth).sum((1, 2))
            scores.append(np.where(union, (mask & truth).sum((1, 2)) / np.maximum(union, 1), 1).mean())
    return float(np.mean(scores))


def test_every_shipped_network_has_its_weights(bundled):
    assert bundled.available, f"{bundled.path} is missing"


def test_they_segment_what_expressions_refer_to(bundled, dataset):
    predictor = UNINEXTPredictor.load(config=bundled.config, device="cpu")
    assert mean_j(predictor, dataset) > LEAST


def test_untrained_weights_do_not(bundled, dataset):
    predictor = UNINEXTPredictor.load(seed=0, config=bundled.config, device="cpu", tokenizer="demo")
    assert mean_j(predictor, dataset) < LEAST / 2


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_masks(bundled, dataset, precision):
    video = next(iter(open_dataset(dataset, "valid").videos.values()))
    exact, half = (
        UNINEXTPredictor.load(config=bundled.config, device="cpu", precision=name).predict(video).tracks
        for name in ("strict", precision)
    )
    same = [(one.stack() == other.stack()).mean() for one, other in zip(exact, half, strict=True)]
    assert np.mean(same) > 0.99
    assert any((one.scores != other.scores).any() for one, other in zip(exact, half, strict=True))


def test_any_text_is_accepted(bundled, dataset):
    video = next(iter(open_dataset(dataset, "valid").videos.values()))
    expressions = [
        Expression(id=str(i), text=text)
        for i, text in enumerate(("the red star", "Ein Hund läuft, 犬が走る!", "word " * 100))
    ]
    tracks = UNINEXTPredictor.load(config=bundled.config, device="cpu").segment(video.frames(), expressions)
    assert [track.expression for track in tracks] == expressions
    assert all(np.isfinite(track.scores).all() for track in tracks)


def test_the_file(bundled):
    checkpoint = read_checkpoint(bundled.path)
    assert bundled.path.stat().st_size <= 4_000_000
    assert {tensor.dtype.itemsize for tensor in checkpoint.state.values()} == {2}
    assert checkpoint.origin.config == bundled.config


def test_a_published_configuration_without_weights_gets_its_small_version(bundled, dataset, tmp_path):
    video = next((dataset / "valid" / "JPEGImages").iterdir())
    arguments = ["--backbone", bundled.stands_for, "--video", video, "-e", "the red star", "--out", tmp_path / "run"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "weights: demo (a small network trained on synthetic videos" in result.stderr
    assert f'"config": "{bundled.config}"' in (tmp_path / "run" / "run.json").read_text()


def test_every_shipped_network_stands_for_a_published_one_with_its_kind_of_backbone():
    for config, bundled in BUNDLED.items():
        assert bundled.config == config
        assert isinstance(CONFIGS[config].backbone, type(CONFIGS[bundled.stands_for].backbone))
