"""From frames and expressions to tracks: sharing, batching and streaming must not change the result."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import assert_same_track
from golden_cases.torch.fake_gpu import on_fake_gpu
from golden_cases.torch.loading import RandomNumbers, slow_imports
from mask_interchange import Expression, MaskRun, open_dataset, open_video, soft_from_probabilities
from program_kit.errors import DeviceError, WeightsError
from program_kit.torch import memory
from program_kit.torch.precision import set_precision
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.errors import RVOSLayersError, TokenizerError
from rvos_layers.inference.config import ResizeRule, Windows
from rvos_layers.inference.query_masks import choose_query
from soc import SOCPredictor, cli
from soc.config import CONFIGS
from soc.model import SOC
from typer.testing import CliRunner

DATA = os.environ.get("RVOS_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="RVOS_DATA does not name the folder of test data")
EXPRESSIONS = ["a dog", "the brown dog that turns round at the end", "Grass"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On networks this small, threads that wait for each other cost more than they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def soc() -> SOCPredictor:
    """A tiny random network in which no head is neutral."""
    made = SOCPredictor.load(seed=0, config="tiny", device="cpu", short_side=48)
    torch.manual_seed(0)
    for head in [*made.model.queries.box_heads, made.model.controller]:
        torch.nn.init.normal_(head.last.weight, std=0.1)
    return made


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Six frames of a bright square that wanders over noise."""
    random = np.random.default_rng(0)
    clip = random.integers(0, 120, (6, 50, 71, 3), dtype=np.uint8)
    for t, frame in enumerate(clip):
        frame[10 + t : 35 + t, 5 * t : 5 * t + 30] = (250, 200, 90)
    return list(clip)


def agree(one, other) -> None:
    assert one.expression == other.expression
    assert_same_track(one, other)


def test_expressions_together_and_alone(soc, frames):
    together = soc.segment(frames, EXPRESSIONS)
    assert [track.expression.text for track in together] == EXPRESSIONS
    for place, expression in enumerate(EXPRESSIONS):
        [alone] = soc.segment(frames, [Expression(id=str(place), text=expression)])
        agree(alone, together[place])


@pytest.mark.parametrize("frames_of_window", [6, 20])
def test_a_video_that_fits_into_a_window_has_the_published_masks(soc, frames, frames_of_window):
    windowed = SOCPredictor(soc.model, soc.tokenizer, soc.resize, windows=Windows(frames=frames_of_window, overlap=2))
    assert windowed.segment(frames, EXPRESSIONS) == soc.segment(frames, EXPRESSIONS)


def test_a_longer_video_is_cut_into_windows(soc, frames):
    windowed = SOCPredictor(soc.model, soc.tokenizer, soc.resize, windows=Windows(frames=4, overlap=2))
    for track, first in zip(windowed.segment(frames, EXPRESSIONS), soc.segment(frames[:4], EXPRESSIONS), strict=True):
        assert len(track) == len(frames)
        assert track.masks[:3] == first.masks[:3]
        np.testing.assert_array_equal(track.scores[:3], first.scores[:3])


@pytest.mark.parametrize("bytes_at_once", [1, 2**17])
def test_chunk_sizes_change_nothing(soc, frames, bytes_at_once, monkeypatch):
    expected = soc.segment(frames, EXPRESSIONS)
    monkeypatch.setattr(memory, "group_bytes", lambda device: bytes_at_once)
    for one, other in zip(soc.segment(iter(frames), EXPRESSIONS), expected, strict=True):
        agree(one, other)


def test_only_masks_of_chosen_queries_are_computed(soc, frames, monkeypatch):
    shapes, predict_masks = [], soc.model.predict_masks
    monkeypatch.setattr(
        soc.model,
        "predict_masks",
        lambda v, t, outputs: shapes.append(outputs.states.shape) or predict_masks(v, t, outputs),
    )
    soc.segment(frames, EXPRESSIONS)
    assert shapes == [(3, 6, 1, CONFIGS["tiny"].hidden_size)]


def test_heads_without_influence_are_not_run(soc, frames):
    ran = []
    network = soc.model
    watched = {
        "a later class head": network.class_heads[1],
        "text side of the loss": network.alignment,
        "first class head": network.class_heads[0],
    }
    hooks = [m.register_forward_hook(lambda *_, name=name: ran.append(name)) for name, m in watched.items()]
    soc.segment(frames[:2], EXPRESSIONS[:1])
    for hook in hooks:
        hook.remove()
    assert set(ran) == {"first class head"}


def test_the_video_is_encoded_once(soc, frames, monkeypatch):
    calls = []
    encode = soc.model.encode_video
    monkeypatch.setattr(soc.model, "encode_video", lambda clip: calls.append(clip.shape) or encode(clip))
    soc.segment(frames, EXPRESSIONS * 3)
    assert calls == [(1, 6, 3, 48, 68)]


def test_the_output_is_that_of_the_first_decoder_layer(soc, frames):
    """A change of the last layer's heads must not show; one of the first layer's must."""
    network = soc.model
    before = soc.segment(frames[:3], EXPRESSIONS[:1])[0].scores
    with torch.no_grad():
        network.class_heads[-1].bias += 1
        np.testing.assert_array_equal(soc.segment(frames[:3], EXPRESSIONS[:1])[0].scores, before)
        network.class_heads[-1].bias -= 1
        network.class_heads[0].bias += 1
        assert (soc.segment(frames[:3], EXPRESSIONS[:1])[0].scores > before).all()
        network.class_heads[0].bias -= 1


def test_expressions_are_not_changed(soc):
    lower, upper, blank = soc.tokenizer(["a dog", "A Dog", "a  dog"]).input_ids
    assert not torch.equal(lower, upper)
    assert not torch.equal(lower, blank)


def test_soft_masks_say_the_same_as_masks(frames):
    made = SOCPredictor.load(seed=3, config="tiny", device="cpu", short_side=48, soft_masks=50)
    [track] = made.segment(frames, EXPRESSIONS[:1])
    assert track.soft.shape == (6, 35, 50)
    covered = soft_from_probabilities((mask.astype(np.float32) for mask in track.stack()), 50)
    certain = np.abs(track.soft.astype(int) - 128) > 20
    assert ((track.soft > 128) == (covered > 128))[certain].mean() > 0.95


def test_progress_reaches_the_end(soc, frames):
    seen = []
    soc.segment(frames, EXPRESSIONS, lambda done, total: seen.append((done, total)))
    assert len({total for _, total in seen}) == 1
    units = [done for done, _ in seen]
    assert units[0] == 0
    assert units == sorted(units)
    assert units[-1] == seen[0][1]
    assert len(set(units)) > len(frames)  # it advances within the backbone and within the expressions


def test_a_long_video_needs_one_chunk_at_a_time(soc, monkeypatch):
    """40 frames: no stage after the backbone takes more than a chunk of them."""
    monkeypatch.setattr(memory, "group_bytes", lambda device: 2**18)
    largest = []
    transformer = soc.model.queries.transformer
    hook = transformer.register_forward_hook(lambda _, __, decoded: largest.append(len(decoded.initial_reference)))
    still = np.full((40, 50, 3), 90, np.uint8)
    small = SOCPredictor(soc.model, soc.tokenizer, ResizeRule(short=40))
    [track] = small.segment((still for _ in range(40)), EXPRESSIONS[:1])
    hook.remove()
    assert len(track) == 40
    assert 1 < max(largest) < 20
    assert sum(largest) == 40


def test_a_string_is_one_expression(soc, frames):
    [track] = soc.segment(frames[:2], "a dog")
    assert (track.expression.id, track.expression.text) == ("0", "a dog")


@pytest.mark.parametrize("path", ["clip.mp4", Path("frames")])
def test_a_path_in_place_of_frames_is_refused(soc, path):
    with pytest.raises(TypeError, match=rf"found the path {path}; open it with mask_interchange\.open_video"):
        soc.segment(path, "a dog")
    with pytest.raises(TypeError, match=rf"found the path {path}; mask_interchange\.open_video"):
        soc.predict(path)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_is_close_and_ends_in_float32(frames, precision):
    video, types = frames[:3], set()
    full, half = (SOCPredictor.load(device="cpu", precision=name) for name in ("strict", precision))
    half.model.controller.last.register_forward_hook(lambda _, __, output: types.add(output.dtype))
    for one, other in zip(full.segment(video, EXPRESSIONS), half.segment(video, EXPRESSIONS), strict=True):
        assert other.scores.dtype == np.float32
        np.testing.assert_allclose(one.scores, other.scores, atol=0.02)
        assert (one.stack() != other.stack()).mean() < 0.02
    assert types == {getattr(torch, precision)}


def test_an_expression_that_is_too_long_is_named(soc, frames):
    with pytest.raises(TokenizerError, match=r"expression 'dog dog.* has \d+ tokens, .* at most 512"):
        soc.segment(frames, ["dog " * 300])


def test_unfit_frames_are_named(soc, frames):
    with pytest.raises(RVOSLayersError, match="at least one frame"):
        soc.segment([], EXPRESSIONS)
    with pytest.raises(RVOSLayersError, match=r"frame 2: expected RGB uint8 .* found uint8 \[50, 70, 3\]"):
        soc.segment([*frames[:2], frames[2][:, 1:]], EXPRESSIONS)
    with pytest.raises(RVOSLayersError, match=r"frame 0: .* found float64"):
        soc.segment([frames[0] / 255], EXPRESSIONS)


def test_small_frames_are_taken(soc):
    small = SOCPredictor(soc.model, soc.tokenizer, ResizeRule(short=17))
    [track] = small.segment([np.zeros((17, 21, 3), np.uint8)], EXPRESSIONS[:1])
    assert track.size == (17, 21)


def test_random_weights_follow_from_the_seed(frames):
    first, again, other = (SOCPredictor.load(seed=s, config="tiny", device="cpu", short_side=40) for s in (5, 5, 6))
    one, two, three = (p.segment(frames[:2], EXPRESSIONS[:1])[0] for p in (first, again, other))
    assert one == two
    assert not np.array_equal(one.scores, three.scores)


def test_weights_must_be_chosen():
    with pytest.raises(WeightsError, match="ships weights of demo only; give either"):
        SOCPredictor.load(config="tiny")
    with pytest.raises(WeightsError, match="give either --checkpoint"):
        SOCPredictor.load(__file__, seed=0)
    with pytest.raises(DeviceError, match="device cuda:99"):
        SOCPredictor.load(seed=0, config="tiny", device="cuda:99")


def test_the_command_line_knows_every_configuration():
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    assert "|".join(CONFIGS) in result.output


@needs_data
def test_real_frames_end_to_end(tmp_path):
    """The command on a few real frames, in the published form of a data set."""
    root = Path(DATA) / "davis_mini"
    folder = tmp_path / "dog"
    folder.mkdir()
    for path in sorted((root / "JPEGImages" / "dog").glob("*.jpg"))[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "run"
    arguments = ["--video", str(folder), "-e", "the brown dog", "-e", "a dog turning", "--out", str(out)]
    result = CliRunner().invoke(
        cli.main, [*arguments, "--weights", "random:0", "--config", "tiny", "--device", "cpu", "--short-side", "90"]
    )
    assert result.exit_code == 0, result.output
    masks = MaskRun.open(out).read("dog")
    assert masks.size == open_video(folder, ["x"]).videos["dog"].size
    assert [track.expression.text for track in masks.tracks] == ["the brown dog", "a dog turning"]
    assert masks.frame_names == ("00000", "00001", "00002")


@needs_data
def test_the_published_tokenizer_fits(frames):
    made = SOCPredictor.load(
        seed=0, config="tiny", device="cpu", tokenizer=str(Path(DATA) / "tokenizers" / "roberta-base")
    )
    with pytest.raises(TokenizerError, match="knows 320 tokens"):
        made.segment(frames[:1], ["a dog"])
    made.tokenizer.vocab_size = CONFIGS["joint-base"].text.vocab_size
    assert made.tokenizer(["the brown dog running"]).input_ids.tolist() == [[0, 627, 6219, 2335, 878, 2]]


@needs_data
def test_a_data_set_video_keeps_its_names(soc):
    video = open_dataset(Path(DATA) / "davis_mini").videos["dog"]

    class Beginning:
        id, expressions, size, frame_names = video.id, video.expressions[:1], video.size, video.frame_names[:2]

        @staticmethod
        def frames():
            return video.frames(0, 2)

    masks = soc.predict(Beginning)
    assert masks.video == "dog"
    assert masks.frame_names == video.frame_names[:2]
    assert choose_query(torch.zeros(2, 3, 1)).query == 0


def test_loading_draws_no_random_numbers():
    with RandomNumbers() as numbers:
        SOCPredictor.load(device="cpu")
    assert numbers.drawn == 0


def test_loading_imports_nothing_slow():
    assert slow_imports("from soc import SOCPredictor\nSOCPredictor.load(device='cpu')") == []


@pytest.mark.parametrize("precision", ["strict", "bfloat16"])
def test_a_gpu_never_waits_for_the_network(precision, monkeypatch):
    monkeypatch.setattr("msda_ops.ops.path_name", lambda *_: "cuda")
    network = SOC(CONFIGS["tiny"]).eval()
    set_precision(network, precision)

    def segment(gpu: torch.device) -> torch.Tensor:
        video = network.encode_video(torch.empty(1, 11, 3, 70, 94, device=gpu))  # windows at the end of every axis
        ids = torch.empty(3, 7, dtype=torch.int64, device=gpu)
        text = network.encode_text(Tokens(ids, ids == 0))
        outputs = network.decode(video, text)
        return network.predict_masks(video, text, outputs.select(choose_query(outputs.logits).query))

    assert on_fake_gpu(network, segment).shape == (3, 11, 1, 18, 24)
