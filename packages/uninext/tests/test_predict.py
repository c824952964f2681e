"""Videos through a network: what is shared, what must not depend on batching, what is kept; and the Python door."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import assert_same_track
from golden_cases.readme import run_readme, write_clip
from golden_cases.torch.fake_gpu import on_fake_gpu, on_gpu
from golden_cases.torch.loading import RandomNumbers, slow_imports
from mask_interchange import Video, open_video
from PIL import Image
from program_kit.errors import DeviceError, ProgramKitError, WeightsError
from program_kit.options import Precision
from program_kit.torch.precision import set_precision
from uninext import UNINEXTPredictor
from uninext import predict as predict_module
from uninext.config import CONFIGS, ImageConfig, named_config
from uninext.errors import InputError
from uninext.geometry import frame_geometry
from uninext.model import Uninext, build_uninext
from uninext.preprocess import FramePreprocessor, load_tokenizer

EXPRESSIONS = ["the red square", "a dog", "someone who is not there at all"]
TINY = {"seed": 1, "config": "tiny-convnext", "device": "cpu", "short_side": 64}


@pytest.fixture(scope="module", params=[name for name in CONFIGS if name.startswith("tiny")])
def network(request: pytest.FixtureRequest) -> Uninext:
    torch.manual_seed(3)
    image = ImageConfig(short_side=64, long_side_limit=178)
    return build_uninext(replace(named_config(request.param), image=image)).eval()


def write_video(folder: Path, expressions: list[str], frames: int = 3, size: tuple[int, int] = (90, 140)) -> Video:
    """A folder of noisy frames with a red square that moves."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for t in range(frames):
        picture = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        picture[20:60, 10 + 20 * t : 50 + 20 * t] = (200, 30, 30)
        Image.fromarray(picture).save(folder / f"{t:05d}.png")
    return next(iter(open_video(folder, expressions).videos.values()))


@pytest.fixture
def video(tmp_path: Path) -> Video:
    return write_video(tmp_path / "clip", EXPRESSIONS)


def predictor(network: Uninext, soft_masks: int | None = None) -> UNINEXTPredictor:
    return UNINEXTPredictor(network, load_tokenizer("bytes", network.config.text), soft_masks=soft_masks)


def test_tracks_are_complete(network: Uninext, video: Video) -> None:
    reported: list[tuple[int, int]] = []
    masks = predictor(network, soft_masks=35).predict(video, lambda done, total: reported.append((done, total)))
    assert reported == [(1, 3), (2, 3), (3, 3)]
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
    monkeypatch.setattr(predict_module, "pairs_at_once", lambda network, geometry: 2)
    for i, expression in enumerate(EXPRESSIONS):
        alone = predictor(network).predict(write_video(tmp_path / str(i), [expression])).tracks[0]
        assert_same_track(alone, together.tracks[i])
    in_twos = predictor(network).predict(video)
    for one, other in zip(in_twos.tracks, together.tracks, strict=True):
        assert_same_track(one, other)


@pytest.mark.parametrize("at_once", [2, 4])
def test_frames_do_not_depend_on_their_company(
    network: Uninext, video: Video, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, together = predictor(network, soft_masks=35), predictor(network, soft_masks=35)
    monkeypatch.setattr(predict_module, "pairs_at_once", lambda network, geometry: at_once)
    monkeypatch.setattr(together, "frames_at_once", lambda geometry, expressions: 2)  # and the last one alone
    for one, other in zip(alone.predict(video).tracks, together.predict(video).tracks, strict=True):
        assert_same_track(one, other)


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
        shrinking.predict(write_video(tmp_path / "clip", ["a dog"], frames=1, size=(40, 60)))


def test_seeds_decide_random_weights_and_leave_the_callers_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (UNINEXTPredictor.load(**TINY | {"seed": seed}).network for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    weights = [network.state_dict()["proposals.project.weight"] for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not any(parameter.requires_grad for parameter in one.parameters())


def test_the_published_sizes() -> None:
    assert FramePreprocessor(named_config("vit-h").image).network_size((720, 1280)) == (480, 853)


@pytest.fixture(scope="module")
def tiny() -> UNINEXTPredictor:
    return UNINEXTPredictor.load(**TINY)


def test_frames_give_the_masks_of_their_video(tiny: UNINEXTPredictor, video: Video) -> None:
    reported: list[tuple[int, int]] = []
    tracks = tiny.segment(list(video.frames()), EXPRESSIONS, lambda done, total: reported.append((done, total)))
    assert reported == [(1, 3), (2, 3), (3, 3)]
    for one, other in zip(tracks, tiny.predict(video).tracks, strict=True):
        assert one.expression == other.expression
        assert one.masks == other.masks
        np.testing.assert_array_equal(one.scores, other.scores)


def test_one_text_is_one_expression(tiny: UNINEXTPredictor, video: Video) -> None:
    (track,) = tiny.segment(video.frames(), "a dog")
    assert (track.expression.id, track.expression.text) == ("0", "a dog")


@pytest.mark.parametrize("path", ["clip.mp4", Path("clip.mp4")])
def test_a_path_is_neither_frames_nor_a_video(tiny: UNINEXTPredictor, path: str | Path) -> None:
    with pytest.raises(TypeError, match=r"clip\.mp4.*open_video"):
        tiny.segment(path, "a dog")
    with pytest.raises(TypeError, match=r"clip\.mp4.*open_video"):
        tiny.predict(path)


FRAME = np.zeros((90, 140, 3), np.uint8)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "expected at least one, found none"),
        ([FRAME, FRAME[:80]], r"frame 1: expected size \(90, 140\) as of frame 0, found \(80, 140\)"),
        ([FRAME[..., 0]], r"uint8 \[H, W, 3\], found uint8 \[90, 140\]"),
        ([FRAME.astype(np.float32)], "found float32"),
        ([Image.fromarray(FRAME)], "found Image"),
    ],
)
def test_other_frames_are_refused(tiny: UNINEXTPredictor, frames: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny.segment(frames, "a dog")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_scores(video: Video, precision: Precision) -> None:
    exact, half = (
        UNINEXTPredictor.load(**TINY, precision=name).predict(video).tracks for name in ("strict", precision)
    )
    for one, other in zip(exact, half, strict=True):
        assert (one.scores != other.scores).any()
        np.testing.assert_allclose(other.scores, one.scores, rtol=0.1)


@pytest.mark.parametrize("config", ["demo-convnext", "demo-vit"])
def test_loading_draws_no_random_numbers(config: str) -> None:
    with RandomNumbers() as numbers:
        UNINEXTPredictor.load(config=config, device="cpu")
    assert numbers.drawn == 0


def test_loading_imports_no_transformers() -> None:
    """torchvision comes with detectron2 and timm."""
    code = "from uninext import UNINEXTPredictor\nUNINEXTPredictor.load(device='cpu')"
    assert "transformers" not in slow_imports(code)


@pytest.mark.parametrize("precision", ["strict", "bfloat16"])
@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith("tiny")])
def test_a_gpu_never_waits_for_frames(name: str, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msda_ops.ops.path_name", lambda *_: "cuda")
    config = named_config(name)
    network = build_uninext(config).eval()
    set_precision(network, precision)
    geometry = frame_geometry((64, 90), config.hidden_size)

    def segment(gpu: torch.device) -> list[torch.Tensor]:
        ids = torch.empty(3, 7, dtype=torch.int64, device=gpu)
        text = network.encode_text(ids, ids == 0)
        pixels = torch.empty(2, 3, 64, 90, dtype=torch.uint8, device=gpu)
        images = FramePreprocessor(config.image).normalise(pixels)
        found = predict_module.predict_frames(network, images, on_gpu(geometry), text, (90, 126))
        return [predictions.probabilities for predictions in found]

    assert [probabilities.shape for probabilities in on_fake_gpu(network, segment)] == [(6, 90, 126)]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"config": "vit-g"}, WeightsError, "convnext-l"),
        ({"checkpoint": "absent.pth"}, WeightsError, "either|absent"),
        ({"device": "cuda:99"}, DeviceError, "cuda:99"),
        ({"precision": "float8"}, ProgramKitError, "bfloat16"),
    ],
)
def test_what_cannot_be_loaded_is_explained(settings: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        UNINEXTPredictor.load(**TINY | settings)


def test_the_code_of_the_readme_runs(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4")
    variables = run_readme(Path(__file__).parents[1] / "README.md", tmp_path)
    assert variables["masks"].tracks[0].expression.text == "the brown dog"
    assert variables["instances"].pred_masks.shape == (2, 48, 64)
