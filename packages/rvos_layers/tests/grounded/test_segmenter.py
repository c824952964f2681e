"""Shared text-independent work, batches of expressions, chunks of frames: none of it may change a result."""

from dataclasses import replace

import pytest
import torch
from golden_cases import NETWORK, assert_close, rounding
from hypothesis import given
from hypothesis import strategies as st
from program_kit.torch import memory
from rvos_layers.encoders.config import PAD, ResNetConfig
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.encoders.video_features import FrameTextPairs
from rvos_layers.errors import RVOSLayersError
from rvos_layers.grounded.config import GroundedConfig
from rvos_layers.grounded.masks import GroundedOutputs
from rvos_layers.grounded.segmenter import GroundedSegmenter
from torch import nn

TINY = GroundedConfig.named()["tiny"]
EXPRESSIONS = [[0, 17, 40, 2], [0, 99, 5, 31, 7, 64, 2], [0, 12, 2]]


class Plain(GroundedSegmenter):
    """The shared parts joined in the simplest way."""

    output_layer = -1

    def __init__(self, config: GroundedConfig) -> None:
        super().__init__(config, fuse=torch.mul)

    def query_init(self, video, text) -> torch.Tensor:
        return text.sentence

    def finalize_queries(self, states) -> torch.Tensor:
        return states


def network(config: GroundedConfig) -> Plain:
    """A network in which no parameter is neutral."""
    torch.manual_seed(0)
    model = Plain(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.1)
    return model


@pytest.fixture(scope="module")
def model() -> Plain:
    return network(TINY)


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    return torch.randn(1, 5, 3, 66, 90, generator=torch.Generator().manual_seed(1))


def tokens(*expressions: list[int]) -> Tokens:
    longest = max(map(len, expressions))
    ids = torch.tensor([expression + [PAD] * (longest - len(expression)) for expression in expressions])
    return Tokens(ids, ids == PAD)


def run(model: Plain, clip: torch.Tensor, asked: Tokens) -> tuple[GroundedOutputs, torch.Tensor]:
    with torch.no_grad():
        video, text = model.encode_video(clip), model.encode_text(asked)
        outputs = model.decode(video, text)
        return outputs, model.predict_masks(video, text, outputs)


def test_expressions_together_equal_each_alone(model, clip):
    outputs, masks = run(model, clip, tokens(*EXPRESSIONS))
    for i, expression in enumerate(EXPRESSIONS):
        alone, mask = run(model, clip, tokens(expression))
        assert_close(outputs.logits[i], alone.logits[0], NETWORK)
        assert_close(outputs.boxes[i], alone.boxes[0], NETWORK)
        assert_close(masks[i], mask[0], NETWORK)


def test_expressions_matter(model, clip):
    """Control: the expressions above do not happen to have equal outputs."""
    outputs, masks = run(model, clip, tokens(*EXPRESSIONS))
    assert (outputs.logits[0] - outputs.logits[1]).abs().max() > 1e-2
    assert (masks[0] - masks[1]).abs().max() > 1e-2


def test_clips_of_a_batch_stay_apart(model, clip):
    other = torch.randn(clip.shape, generator=torch.Generator().manual_seed(5))
    outputs, masks = run(model, torch.cat([clip, other]), tokens(*EXPRESSIONS[:2]))
    for i, frames in enumerate((clip, other)):
        alone, mask = run(model, frames, tokens(EXPRESSIONS[i]))
        assert_close(outputs.logits[i], alone.logits[0], NETWORK)
        assert_close(masks[i], mask[0], NETWORK)


@pytest.mark.parametrize("bytes_at_once", [1, 2**17, 2**40])
def test_work_in_pieces_equals_work_in_one(model, clip, bytes_at_once, monkeypatch):
    expected, expected_masks = run(model, clip, tokens(*EXPRESSIONS))
    monkeypatch.setattr(memory, "group_bytes", lambda device: bytes_at_once)
    outputs, masks = run(model, clip, tokens(*EXPRESSIONS))
    assert_close(outputs.logits, expected.logits, NETWORK)
    assert_close(masks, expected_masks, NETWORK)


def test_masks_of_selected_queries_are_those_of_all(model, clip):
    outputs, masks = run(model, clip, tokens(*EXPRESSIONS))
    queries = torch.tensor([2, 0, 1])
    with torch.no_grad():
        video, text = model.encode_video(clip), model.encode_text(tokens(*EXPRESSIONS))
        kept = model.predict_masks(video, text, outputs.select(queries))
    for i, query in enumerate(queries):
        assert_close(kept[i, :, 0], masks[i, :, query], NETWORK)


def test_the_path_with_gradients_gives_the_same(model, clip):
    expected, expected_masks = run(model, clip, tokens(*EXPRESSIONS[:2]))
    video, text = model.encode_video(clip), model.encode_text(tokens(*EXPRESSIONS[:2]))
    outputs = model.decode(video, text)
    masks = model.predict_masks(video, text, outputs)
    assert_close(outputs.logits, expected.logits, NETWORK)
    assert_close(outputs.boxes, expected.boxes, NETWORK)
    assert_close(masks, expected_masks, NETWORK)
    masks.square().mean().backward()
    unused = {name for name, parameter in model.masks.named_parameters() if parameter.grad is None}
    model.zero_grad()
    assert not unused


def test_frames_talk_to_each_other(model, clip):
    """The mask of one frame depends on the others, through the backbone and the cross-modal pyramid."""
    _, masks = run(model, clip, tokens(EXPRESSIONS[0]))
    changed = clip.clone()
    changed[:, 4] = 0
    _, others = run(model, changed, tokens(EXPRESSIONS[0]))
    assert (masks[:, 0] - others[:, 0]).abs().max() > rounding(masks, NETWORK)


def test_other_backbones_are_configurations(clip):
    model = network(replace(TINY, backbone=ResNetConfig(depths=(1, 1, 1, 1))))
    outputs, masks = run(model, clip[:, :2], tokens(*EXPRESSIONS))
    assert outputs.logits.shape == (3, 2, TINY.queries, 1)
    assert masks.shape == (3, 2, TINY.queries, 17, 23)
    assert masks.isfinite().all()


def test_small_frames_are_refused(model):
    with pytest.raises(RVOSLayersError, match=r"frames of 40x31 pixels .* at least 32 pixels"):
        model.encode_video(torch.zeros(1, 2, 3, 31, 40))


def test_expressions_must_fit_the_clips(model, clip):
    video = model.encode_video(clip.repeat(2, 1, 1, 1, 1))
    with pytest.raises(ValueError, match="3 expressions cannot be paired with 2 clips"):
        model.decode(video, model.encode_text(tokens(*EXPRESSIONS)))


@given(st.integers(1, 5), st.integers(1, 6), st.booleans(), st.integers(1, 12))
def test_pairs_of_frames_and_expressions(expressions, frames, clip_each, size):
    clips = expressions if clip_each else 1
    pairs = FrameTextPairs(torch.arange(expressions * frames), frames)
    images = torch.arange(clips * frames)
    paired = [
        (int(n) // frames, int(i))
        for chunk in pairs.split(size)
        for n, i in zip(chunk.indices, chunk.of_frames(images), strict=True)
    ]
    expected = [(e, (e if clip_each else 0) * frames + t) for e in range(expressions) for t in range(frames)]
    assert paired == expected


def test_the_output_layer_is_one_of_those_of_training(model, clip):
    """`decode` equals `decode_layers` at the output layer, for a model that does not change the queries."""
    with torch.no_grad():
        video, text = model.encode_video(clip), model.encode_text(tokens(*EXPRESSIONS))
        outputs, layers = model.decode(video, text), model.decode_layers(video, text)
    assert len(layers) == TINY.transformer.decoder_layers
    for name in ("logits", "boxes", "states", "centres"):
        assert torch.equal(getattr(outputs, name), getattr(layers[-1], name))


def test_heads_are_initialised_as_published():
    model = Plain(TINY)
    assert {round(head.bias.item(), 3) for head in model.class_heads} == {-4.595}
    for layer, head in enumerate(model.queries.box_heads):
        assert not head.last.weight.any()
        assert head.last.bias.tolist() == ([0, 0, -2, -2] if layer == 0 else [0, 0, 0, 0])
    for layer in model.masks.controller.layers:
        rows, columns = layer.weight.shape
        bound = (6 / (rows + columns)) ** 0.5
        assert not layer.bias.any()
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound
