"""Videos through a network: what is shared, what must not depend on batching, what is kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mask_interchange import Video, open_video
from PIL import Image
from uninext import predict as predict_module
from uninext.config import CONFIGS, ImageConfig, named_config
from uninext.detectron import build_network, uninext_cfg
from uninext.errors import InputError
from uninext.model import Uninext
from uninext.predict import VideoPredictor
from uninext.preprocess import FramePreprocessor
from uninext.tokenizer import Tokenizer, encode_bytes

EXPRESSIONS = ["the red square", "a dog", "someone who is not there at all"]


@pytest.fixture(scope="module", params=[name for name in CONFIGS if name.startswith("tiny")])
def network(request: pytest.FixtureRequest) -> Uninext:
    cfg = uninext_cfg(request.param)
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 64, 178
    return build_network(cfg, seed=3)


def drawn_video(folder: Path, expressions: list[str], frames: int = 3, size: tuple[int, int] = (90, 140)) -> Video:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for t in range(frames):
        picture = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        picture[20:60, 10 + 20 * t : 50 + 20 * t] = (200, 30, 30)
        Image.fromarray(picture).save(folder / f"{t:05d}.png")
    return next(iter(open_video(folder, expressions).videos.values()))


@pytest.fixture
def video(tmp_path: Path) -> Video:
    return drawn_video(tmp_path / "clip", EXPRESSIONS)


def predictor(network: Uninext, **options: int) -> VideoPredictor:
    return VideoPredictor(network, Tokenizer(encode_bytes, network.config.text), **options)


def test_tracks_are_complete(network: Uninext, video: Video) -> None:
    told: list[tuple[int, int]] = []
    masks = predictor(network, soft_masks=35).predict(video, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert masks.frame_names == video.frame_names
    assert [track.expression for track in masks.tracks] == list(video.expressions)
    for track in masks.tracks:
        assert track.key_frame == int(np.argmax(track.scores))
        assert ((track.scores > 0) & (track.scores < 1)).all()
        assert track.soft.shape == (3, 22, 35)
        assert len(track.support) == 3


def test_expressions_do_not_depend_on_their_company(
    network: Uninext, video: Video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = predictor(network).predict(video)
    monkeypatch.setattr(predict_module, "EXPRESSIONS_AT_ONCE", 2)
    for i, expression in enumerate(EXPRESSIONS):
        alone = predictor(network).predict(drawn_video(tmp_path / str(i), [expression])).tracks[0]
        np.testing.assert_allclose(alone.scores, together.tracks[i].scores, atol=1e-5)
        assert (alone.stack() != together.tracks[i].stack()).mean() < 1e-3
    in_twos = predictor(network).predict(video)
    for one, other in zip(in_twos.tracks, together.tracks, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_frames_once_and_text_once(network: Uninext, video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("encode_frame", "encode_text", "decode"):
        whole = getattr(Uninext, name)

        def counted(self, *arguments, _name=name, _whole=whole):
            calls.append(_name)
            return _whole(self, *arguments)

        monkeypatch.setattr(Uninext, name, counted)
    predictor(network).predict(video)
    assert {name: calls.count(name) for name in calls} == {"encode_text": 1, "encode_frame": 3, "decode": 3}


def test_support_is_every_pixel_but_numerical_zeros(network: Uninext, video: Video) -> None:
    with torch.inference_mode():
        for track in predictor(network).predict(video).tracks:
            support = predict_module.MaskTrack(
                expression=track.expression, size=track.size, masks=track.support
            ).stack()
            assert support[track.stack()].all()


def test_a_frame_too_small_for_the_network(network: Uninext, tmp_path: Path) -> None:
    shrinking = predictor(network)
    shrinking.preprocess = FramePreprocessor(ImageConfig(short_side=20, long_side_limit=30))
    with pytest.raises(InputError, match="20x30 has 22 image tokens"):
        shrinking.predict(drawn_video(tmp_path / "clip", ["a dog"], frames=1, size=(40, 60)))


def test_seeds_decide_random_weights_and_leave_the_callers_generator_alone() -> None:
    cfg = uninext_cfg("tiny-convnext")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (build_network(cfg, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    weights = [network.state_dict()["proposals.project.weight"] for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_published_sizes() -> None:
    assert FramePreprocessor(named_config("vit-h").image).network_size((720, 1280)) == (480, 853)
